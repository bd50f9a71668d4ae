"""Directories and files that appear complete or not at all.

A directory `out` is written as `new` inside a hidden workspace beside it, `.out.edgecap-XXXXXXXX`,
and moved to its name at the end. The workspace stays locked (flock) while its process lives, so a
later run knows the workspaces of killed ones by their free locks, and removes them. POSIX only.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.locks import open_locked

_MARK = ".edgecap-"
_WORKSPACE = re.compile(rf"\.(.+){re.escape(_MARK)}[0-9a-f]{{8}}", re.DOTALL)
_NEW, _OLD = "new", "old"  # all that a workspace holds
DRAFT = ".draft-"  # in the name of a file that is being written

# What a directory of the same command is known by: a file's name, or a look into it.
Marker = str | Callable[[Path], bool]


@contextmanager
def atomic_dir(
    path: str | os.PathLike[str], overwrite: bool = False, marker: Marker | None = None
) -> Iterator[Path]:
    """Yield an empty directory to fill; on leaving it becomes `path`, on an exception it vanishes.

    With `overwrite` an older directory keeps its place until the new one is complete. Where
    `marker` is given, only a directory that bears it, or holds nothing, is replaced: a slip in an
    output path must not cost a home directory. Missing parents are made.

    Raises InputError where `path` exists and may not be replaced, where its parent cannot be
    written, and where the disk is full.
    """
    final = Path(path).resolve()
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _recover(final.parent)
        refuse_existing(final, overwrite, marker)
        workspace, lock = _workspace(final)
    except OSError as error:
        raise InputError(
            "output.unwritable",
            f"{final.parent} cannot be written: {error.strerror}.",
            "Choose another output directory.",
        ) from error
    try:
        new = workspace / _NEW
        new.mkdir()
        yield new
        _sync_tree(new)
        refuse_existing(final, overwrite, marker)  # it may have appeared in the meantime
        _publish(new, final, workspace / _OLD)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            "output.full",
            f"the disk that holds {final.parent} is full; nothing was written.",
            "Free some space or choose another output directory.",
        ) from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
        os.close(lock)


def make_directory(path: Path) -> None:
    """The directory and those above it, where they are not there; InputError where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "output.unwritable",
            f"{path} cannot be made: {error.strerror}.",
            "Choose another output directory.",
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write one file, replacing an older one in one step; on disk when this returns.

    A link is followed, and what is no file, such as a pipe, is written to as it is. Raises
    InputError where the place cannot be written or the disk is full.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            _replace_file(path.resolve(), data)
    except OSError as error:
        raise InputError(
            "output.unwritable",
            f"{path} cannot be written: {error.strerror}.",
            "Free some space or choose another place.",
        ) from error


def _replace_file(path: Path, data: bytes) -> None:
    draft = path.parent / f".{path.name}{DRAFT}{secrets.token_hex(4)}"
    try:
        draft.write_bytes(data)
        if path.exists():
            shutil.copymode(path, draft)
        _sync(draft)
        draft.replace(path)
    except BaseException:  # Ctrl-C too: nobody else would ever remove it
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def refuse_existing(final: Path, overwrite: bool, marker: Marker | None) -> None:
    """InputError where a directory may not be replaced, as `atomic_dir` says."""
    if not final.exists():
        return
    if not final.is_dir():
        raise InputError("output.not_a_directory", f"{final} exists and is not a directory.")
    if not overwrite:
        raise InputError(
            "output.exists", f"{final} exists already.", "Pass --overwrite to replace it."
        )
    if marker is not None and not _bears(final, marker) and any(final.iterdir()):
        lacking = f" holds no {marker}, so it" if isinstance(marker, str) else ""
        raise InputError(
            "output.foreign",
            f"{final}{lacking} was not written by this command and is kept.",
            "Choose another output directory.",
        )


def _bears(directory: Path, marker: Marker) -> bool:
    return (directory / marker).exists() if isinstance(marker, str) else marker(directory)


def _publish(new: Path, final: Path, aside: Path) -> None:
    """Give `new` its final name. A kill between the two moves is repaired by the next run."""
    try:
        if final.exists():
            final.rename(aside)
        new.rename(final)
    except BaseException:  # Ctrl-C too: what is left aside is deleted with the workspace
        if aside.exists() and not final.exists():
            aside.rename(final)
        raise
    _sync(final.parent)


def _workspace(final: Path) -> tuple[Path, int]:
    """A new locked workspace beside `final`, and the descriptor that holds its lock."""
    while True:
        workspace = final.parent / f".{final.name}{_MARK}{secrets.token_hex(4)}"
        workspace.mkdir()
        try:
            lock = open_locked(workspace)
        except UnsupportedError:
            workspace.rmdir()
            raise
        if lock is not None:
            return workspace, lock
        # another run took it for a stale one in the moment before it was locked, and removes it


def _recover(parent: Path) -> None:
    """Put back what killed runs had moved aside, and remove their workspaces."""
    for workspace in parent.glob(f".*{_MARK}*"):
        named = _WORKSPACE.fullmatch(workspace.name)
        if named is not None:
            with suppress(OSError):  # a file, another user's: no reason to refuse the caller's work
                _clear(workspace, parent / named[1])


def _clear(workspace: Path, final: Path) -> None:
    """Finish with one workspace, unless its run lives or it holds what no run leaves."""
    lock = open_locked(workspace)
    if lock is None:
        return
    try:
        if {entry.name for entry in workspace.iterdir()} <= {_NEW, _OLD}:
            if (workspace / _OLD).exists() and not final.exists():
                (workspace / _OLD).rename(final)
            shutil.rmtree(workspace, ignore_errors=True)
    finally:
        os.close(lock)


def _sync_tree(top: Path) -> None:
    for folder, _, files in os.walk(top):
        for name in files:
            _sync(Path(folder) / name)
        _sync(Path(folder))


def _sync(path: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a directory, Windows opens none
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
