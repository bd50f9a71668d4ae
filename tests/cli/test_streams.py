"""Terminals, pipes and signals: any encoding, closed outputs, and clean ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_onnx import image

EDGECAP = [sys.executable, "-m", "edgecap"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "写真.png"
    path.write_bytes(image(0, 60, 40))
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "shift_jis", "utf-8"])
def test_any_text_fits_any_encoding(encoding: str, photo: Path, tiny_bundle_made: Path) -> None:
    """The file names are Japanese: an escape at worst, and never a defect."""
    options = ["--bundle", str(tiny_bundle_made), "--max-length", "9"]
    done = subprocess.run(
        [*EDGECAP, "caption", str(photo), str(photo), *options],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    name = photo.name.encode(encoding, "backslashreplace").decode(encoding)
    assert done.stdout.decode(encoding).count(name) == 2


def test_json_is_utf8_in_any_encoding(photo: Path, tiny_bundle_made: Path) -> None:
    options = ["--bundle", str(tiny_bundle_made), "--max-length", "9", "--json", "-"]
    done = subprocess.run(
        [*EDGECAP, "caption", str(photo), *options],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        check=True,
    )
    assert json.loads(done.stdout.decode("utf-8"))[0]["image"] == str(photo)


def test_tables_fit_any_encoding(tiny_bundle_made: Path) -> None:
    for command in ("verify", "inspect"):
        done = subprocess.run(
            [*EDGECAP, command, str(tiny_bundle_made)],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == 0 and done.stdout.isascii(), done.stderr


def test_a_closed_output_is_refused_in_a_line() -> None:
    command = " ".join([*EDGECAP, "doctor", ">&-"])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("edgecap: [output.closed]") and done.stderr.count("\n") == 1


def test_a_closed_standard_error_sends_errors_nowhere() -> None:
    command = " ".join([*EDGECAP, "exprot", "2>&-"])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_full_disk_is_one_line() -> None:
    done = subprocess.run(
        ["sh", "-c", " ".join([*EDGECAP, "--help", "> /dev/full"])], capture_output=True, text=True
    )
    assert done.returncode == 2 and "[system] No space left on device" in done.stderr


WORK = """
import signal, sys, time
from pathlib import Path
from edgecap.cli import doctor
from edgecap.cli.app import main
from edgecap.core.atomic import atomic_dir

def run(json_: str | None = None) -> None:
    with atomic_dir(Path(sys.argv[1])) as place:
        (place / "half").touch()
        print("working", flush=True)
        time.sleep(60)

# As in a terminal, also where a shell started the tests in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
doctor.run = run
sys.exit(main(["doctor"]))
"""


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "edgecap: interrupted.\n"),
        (signal.SIGTERM, 143, "edgecap: stopped by SIGTERM.\n"),
        (signal.SIGHUP, 129, "edgecap: stopped by SIGHUP.\n"),
    ],
)
def test_a_signal_leaves_nothing_behind(
    number: signal.Signals, code: int, line: str, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(number)
        error = process.stderr.read()
    assert (process.returncode, error) == (code, line)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """nohup: the terminal goes, the work goes on."""
    with subprocess.Popen(
        [
            "sh",
            "-c",
            'trap "" HUP; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            WORK,
            str(tmp_path / "o"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read() == "edgecap: stopped by SIGTERM.\n"
    assert process.returncode == 143


def test_an_interrupt_while_packages_are_imported_leaves_no_traceback() -> None:
    code = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "edgecap.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from edgecap.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "edgecap: interrupted.\n")
