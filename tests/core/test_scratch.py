"""Temporary directories: gone in the end, and swept where a kill left them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from edgecap.core.scratch import scratch_dir

PREFIX = "edgecap-test-"
# Makes a directory, says so, and waits to be killed.
LEAVES = """
import sys, time
from edgecap.core.scratch import scratch_dir
with scratch_dir(sys.argv[1], sys.argv[2]) as made:
    (made / "file").write_text("x")
    print(made, flush=True)
    time.sleep(600)
"""


def left_by_a_kill(parent: Path) -> tuple[Path, subprocess.Popen[str]]:
    command = [sys.executable, "-c", LEAVES, PREFIX, str(parent)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    return Path(run.stdout.readline().strip()), run


def test_what_a_kill_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    dead, killed = left_by_a_kill(tmp_path)
    alive, other = left_by_a_kill(tmp_path)
    foreign = tmp_path / "edgecap-other-1"
    foreign.mkdir()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with scratch_dir(PREFIX, tmp_path):
            assert dead.is_dir()  # so young that another run may be about to lock it
        for directory in (dead, alive, foreign):
            os.utime(directory, (0, 0))
        with scratch_dir(PREFIX, tmp_path) as made:
            assert not dead.exists()
            assert (alive / "file").is_file() and foreign.is_dir() and made.is_dir()
        assert not made.exists()
    finally:
        for run in (killed, other):
            run.kill()
            run.wait()
            assert run.stdout is not None
            run.stdout.close()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    link = tmp_path / f"{PREFIX}link"
    link.symlink_to(tmp_path / "mine")
    os.utime(link, (0, 0), follow_symlinks=False)
    with scratch_dir(PREFIX, tmp_path):
        pass
    assert (tmp_path / "mine" / "file").is_file()
