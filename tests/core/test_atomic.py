"""A directory appears complete or not at all, and nothing older is lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgecap.core import atomic
from edgecap.core.atomic import atomic_dir, write_file
from edgecap.core.errors import InputError, UnsupportedError

KILL = "os.kill(os.getpid(), signal.SIGKILL)"
CHILD = """
import os, signal
from pathlib import Path
from edgecap.core import atomic
{setup}
with atomic.atomic_dir({out!r}, overwrite=True) as new:
    (new / "file").write_text("new")
    {body}
"""


def killed_child(out: Path, setup: str = "", body: str = "") -> None:
    """Write to `out` in a process that kills itself."""
    code = CHILD.format(out=str(out), setup=setup, body=body)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def write(out: Path, text: str, **options: object) -> None:
    with atomic_dir(out, **options) as new:  # type: ignore[arg-type]
        (new / "deep").mkdir()
        (new / "deep" / "file").write_text(text)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_complete_directory_appears(tmp_path: Path) -> None:
    out = tmp_path / "missing" / "parents" / "out"
    with atomic_dir(out) as new:
        (new / "file").write_text("text")
        assert not out.exists()
    assert (out / "file").read_text() == "text"
    assert names(out.parent) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_dir(tmp_path / "out") as new:
        (new / "file").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_exception_keeps_the_old(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(ValueError), atomic_dir(tmp_path / "out", overwrite=True):
        raise ValueError
    assert (tmp_path / "out" / "deep" / "file").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_existing_is_refused_before_any_work(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(InputError) as caught, atomic_dir(tmp_path / "out"):
        pytest.fail("the body ran")
    assert caught.value.code == "output.exists"
    assert "--overwrite" in caught.value.hint
    assert names(tmp_path) == ["out"]


def test_overwrite_replaces_the_whole(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out" / "left-over").touch()
    write(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "deep" / "file").read_text() == "new"
    assert names(tmp_path / "out") == ["deep"]
    assert names(tmp_path) == ["out"]


def test_one_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"), atomic_dir(tmp_path / "out"):
        write(tmp_path / "out", "theirs")
    assert (tmp_path / "out" / "deep" / "file").read_text() == "theirs"
    assert names(tmp_path) == ["out"]


def test_overwrite_keeps_what_it_did_not_write(tmp_path: Path) -> None:
    write(tmp_path / "out", "precious")
    with pytest.raises(InputError) as caught:
        write(tmp_path / "out", "new", overwrite=True, marker="manifest.json")
    assert caught.value.code == "output.foreign"
    assert (tmp_path / "out" / "deep" / "file").read_text() == "precious"
    (tmp_path / "out" / "manifest.json").touch()
    write(tmp_path / "out", "new", overwrite=True, marker="manifest.json")
    assert (tmp_path / "out" / "deep" / "file").read_text() == "new"


def test_a_marker_may_look_into_the_directory(tmp_path: Path) -> None:
    def ours(directory: Path) -> bool:
        return (directory / "deep" / "file").read_text() == "ours"

    write(tmp_path / "out", "theirs")
    with pytest.raises(InputError) as caught:
        write(tmp_path / "out", "new", overwrite=True, marker=ours)
    assert caught.value.code == "output.foreign"
    assert (tmp_path / "out" / "deep" / "file").read_text() == "theirs"
    write(tmp_path / "out", "ours", overwrite=True)
    write(tmp_path / "out", "new", overwrite=True, marker=ours)
    assert (tmp_path / "out" / "deep" / "file").read_text() == "new"


def test_file_of_that_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError) as caught:
        write(tmp_path / "out", "new", overwrite=True)
    assert caught.value.code == "output.not_a_directory"
    assert (tmp_path / "out").read_text() == "a file"


def test_link_is_followed_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "deep" / "file").read_text() == "new"


@pytest.mark.parametrize("parent", ["a file", "/proc"])
def test_unwritable_parent(tmp_path: Path, parent: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(InputError) as caught:
        write(tmp_path / parent / "out", "new")
    assert caught.value.code == "output.unwritable"


def test_full_disk(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught, atomic_dir(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.code == "output.full"
    assert names(tmp_path) == []


def test_other_os_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_dir(tmp_path / "out") as new:
        (new / "missing").read_text()
    assert names(tmp_path) == []


def test_killed_while_writing_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    killed_child(tmp_path / "out", body=KILL)
    assert not (tmp_path / "out").exists()
    (stale,) = names(tmp_path)
    assert stale.startswith(".out.edgecap-")
    write(tmp_path / "other", "text")
    assert names(tmp_path) == ["other"]


def test_killed_while_overwriting_keeps_the_old(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    killed_child(tmp_path / "out", body=KILL)
    assert (tmp_path / "out" / "deep" / "file").read_text() == "old"


def test_killed_between_the_two_moves_is_repaired(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    setup = (
        "move = Path.rename\n"
        f"def rename(path, target):\n    move(path, target)\n    {KILL}\n"
        "atomic.Path.rename = rename"
    )
    killed_child(tmp_path / "out", setup=setup)
    assert not (tmp_path / "out").exists()
    write(tmp_path / "other", "text")
    assert (tmp_path / "out" / "deep" / "file").read_text() == "old"
    assert names(tmp_path) == ["other", "out"]


@pytest.mark.parametrize(
    "name",
    [
        ".venv.edgecap-py311/precious.txt",
        ".venv.edgecap-0123abcd/precious.txt",  # no run leaves a file of this name
        ".venv.edgecap-0123abcd4/new",
        ".edgecap-0123abcd/new",
        ".plain.edgecap-0123abcd",  # a file where a workspace would be a directory
    ],
)
def test_neighbours_survive(tmp_path: Path, name: str) -> None:
    kept = tmp_path / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("precious")
    write(tmp_path / "out", "text")
    assert kept.read_text() == "precious"
    assert (tmp_path / "out" / "deep" / "file").read_text() == "text"


def test_a_link_named_like_a_workspace_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "old").mkdir(parents=True)
    (tmp_path / ".gone.edgecap-0123abcd").symlink_to("elsewhere")
    write(tmp_path / "out", "text")
    assert names(tmp_path) == [".gone.edgecap-0123abcd", "elsewhere", "out"]
    assert names(tmp_path / "elsewhere") == ["old"]


def test_what_cannot_be_cleared_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed run of another user, whose workspace may not be read."""
    stale = tmp_path / ".theirs.edgecap-0123abcd"
    (stale / "old").mkdir(parents=True)
    look = Path.iterdir

    def iterdir(path: Path) -> object:
        if path == stale:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return look(path)

    monkeypatch.setattr(atomic.Path, "iterdir", iterdir)
    write(tmp_path / "out", "text")
    monkeypatch.undo()
    assert names(tmp_path) == [stale.name, "out"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), KeyboardInterrupt()])
def test_a_file_that_could_not_be_finished_leaves_no_draft(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("old")

    def replace(path: Path, target: Path) -> None:
        raise error

    monkeypatch.setattr(atomic.Path, "replace", replace)
    with pytest.raises((InputError, KeyboardInterrupt)):
        write_file(tmp_path / "file", b"new")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("error", [PermissionError, KeyboardInterrupt])
def test_failed_move_puts_the_old_back(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", "old")
    move = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise error("no")
        return move(path, target)

    monkeypatch.setattr(atomic.Path, "rename", rename)
    with pytest.raises(error):
        write(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "deep" / "file").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_living_run_is_left_alone(tmp_path: Path) -> None:
    """Two runs beside each other: the second must not take the first for a stale one."""
    body = "print('ready', flush=True); input()"
    code = CHILD.format(out=str(tmp_path / "first"), setup="", body=body)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None and first.stdin is not None
        assert first.stdout.readline() == "ready\n"
        write(tmp_path / "second", "text")
        first.communicate("\n")
    assert first.returncode == 0
    assert (tmp_path / "first" / "file").read_text() == "new"
    assert names(tmp_path) == ["first", "second"]


def test_a_system_without_locks_is_told_so_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    with pytest.raises(UnsupportedError, match="Linux and macOS only"):
        write(tmp_path / "out", "text")
    assert names(tmp_path) == []
    write_file(tmp_path / "file", b"one file needs no lock")
    assert names(tmp_path) == ["file"]
