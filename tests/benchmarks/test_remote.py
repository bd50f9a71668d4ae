"""A bench on another machine: refusals, and a real sshd on this one."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecap.benchmarks import targets
from edgecap.benchmarks.protocol import BenchPlan
from edgecap.benchmarks.remote import Remote
from edgecap.benchmarks.runner import bench
from edgecap.bundle.io import open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import InputError

PLAN = BenchPlan(rounds=3, starts=1, pause=0, batches=(1,), batch_rounds=1, scenes=2)


@pytest.fixture
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """An address and ssh options of a server on loopback that knows one key."""
    folder = tmp_path_factory.mktemp("sshd")
    for key in ("host", "mine"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(command, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "mine.pub",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
    }
    config = folder / "config"
    config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # of the unprivileged half of the server
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "Debian's openssh-server is missing: apt-get install openssh-server"
    log = folder / "log"
    server = subprocess.Popen([program, "-D", "-f", str(config), "-E", str(log)])
    try:
        for _ in range(100):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError(log.read_text())
        options = ["-p", str(port), "-i", str(folder / "mine"), "-F", "none"]
        options += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known"]
        yield f"{getpass.getuser()}@127.0.0.1", options
    finally:
        server.terminate()
        server.wait()


@pytest.mark.full
def test_a_bundle_is_measured_on_another_machine_and_leaves_nothing_there(
    tiny_bundle_made: Path, sshd: tuple[str, list[str]]
) -> None:
    address, options = sshd
    opened = [open_bundle(tiny_bundle_made)]
    with targets.images(2) as files, Remote(address, sys.executable, options) as remote:
        there = Path(remote.folder)
        assert remote.machine()["cpu"] and remote.machine()["remote"]
        far = remote.targets(opened, files, 1)
        assert (there / "edgecap/benchmarks/worker.py").is_file()
        assert not list(there.rglob("*.safetensors"))  # no weights but the bundle's
        (row,) = bench(far, PLAN).rows
        (near,) = bench(targets.targets(opened, None, files, 1), PLAN).rows
    assert row.error is None and row.name == near.name and row.size_mb == near.size_mb
    assert len(row.rounds) == PLAN.rounds and set(row.times) == set(near.times)
    assert row.about["first_caption"] == near.about["first_caption"]
    assert row.accuracy == near.accuracy and row.accuracy["n"] == 2
    assert row.cold_start_ms is not None and row.cold_start_ms > 0
    assert not there.exists()


@pytest.mark.full
def test_a_machine_without_python_is_refused_and_left_clean(sshd: tuple[str, list[str]]) -> None:
    address, options = sshd
    remote = Remote(address, "no-such-python", options)
    words = "needs Python with numpy and Pillow: .*no-such-python"
    with pytest.raises(InputError, match=words), remote:
        raise AssertionError("nothing to work with")
    assert remote.folder and not Path(remote.folder).exists()


def test_ssh_is_needed(
    tiny_bundle_made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    arguments = ["bench", str(tiny_bundle_made), "--remote", "me@board", "-o", "never"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "needs ssh, which is not installed" in told
    assert not Path("never").exists()


@pytest.mark.parametrize("address", ["", "-oProxyCommand=touch x", "a b"])
def test_an_address_is_no_option(address: str) -> None:
    with pytest.raises(InputError, match="user@host"):
        Remote(address)


def test_a_machine_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound and not listening: refused at once
        closed.bind(("127.0.0.1", 0))
        port = str(closed.getsockname()[1])
        remote = Remote("me@127.0.0.1", options=["-p", port, "-F", "none"])
        with pytest.raises(InputError, match="me@127.0.0.1 cannot be reached: .*refused"), remote:
            pass
