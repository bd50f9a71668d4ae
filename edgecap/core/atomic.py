"""Atomic output: directories and files appear complete or not at all.

A directory `out` is written as `new` inside a hidden workspace next to it, `.out.edgecap-XXXXXXXX`,
and renamed at the end. The workspace is locked (flock) while its process runs, so a later run
recognises the workspaces of killed processes by their free locks, and removes them. POSIX only.
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
from typing import BinaryIO

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.locks import open_locked

_MARK = ".edgecap-"
_WORKSPACE = re.compile(rf"\.(.+){re.escape(_MARK)}[0-9a-f]{{8}}", re.DOTALL)
_NEW, _OLD = "new", "old"  # the only entries of a workspace
DRAFT = ".draft-"  # in the name of a file that is being written

# Identifies an output directory of the same command: a file name, or a test of the directory.
Marker = str | Callable[[Path], bool]


@contextmanager
def atomic_dir(
    path: str | os.PathLike[str], overwrite: bool = False, marker: Marker | None = None
) -> Iterator[Path]:
    """Yield an empty directory; on exit it is renamed to `path`, on an exception it is deleted.

    With `overwrite`, an existing directory is kept until the new one is complete. If `marker` is
    given, only an empty directory or one with the marker is replaced, so that a typing error in an
    output path cannot delete a home directory. Missing parents are created.

    Raises InputError if `path` exists and may not be replaced, if its parent is not writable, or if
    the disk is full.
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
    """Create a directory and its parents if they do not exist; InputError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "output.unwritable",
            f"{path} cannot be created: {error.strerror}.",
            "Choose another output directory.",
        ) from error


def write_file(path: Path, data: bytes) -> None:
    """Write one file, atomically replacing an older one; synced to disk on return.

    Links are followed; a path that is not a file, such as a pipe, is written to directly. Raises
    InputError if the path is not writable or the disk is full.
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
            "Free some space or choose another path.",
        ) from error


@contextmanager
def atomic_file(path: Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Yield a new file to write; on exit it replaces `path`, on an exception it is deleted.

    Missing parents are created. Raises InputError if `path` exists and may not be replaced, is not
    a plain file, is not writable, or the disk is full.
    """
    if path.exists() and (not overwrite or not path.is_file()):
        hint = "Pass --overwrite to replace it." if path.is_file() else "Choose another path."
        raise InputError("output.exists", f"{path} exists already.", hint)
    make_directory(path.parent)
    try:
        with _draft(path.resolve()) as draft, draft.open("w+b") as file:
            yield file
    except OSError as error:
        raise InputError(
            "output.unwritable",
            f"{path} cannot be written: {error.strerror}.",
            "Free some space or choose another path.",
        ) from error


def _replace_file(path: Path, data: bytes) -> None:
    with _draft(path) as draft:
        draft.write_bytes(data)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """Yield the path of a file that replaces `path` on exit, and is deleted on an exception."""
    draft = path.parent / f".{path.name}{DRAFT}{secrets.token_hex(4)}"
    try:
        yield draft
        if path.exists():
            shutil.copymode(path, draft)
        _sync(draft)
        draft.replace(path)
    except BaseException:  # Ctrl-C too: no other code removes it
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def refuse_existing(final: Path, overwrite: bool, marker: Marker | None) -> None:
    """Raise InputError if a directory may not be replaced, by the rules of `atomic_dir`."""
    if not final.exists():
        return
    if not final.is_dir():
        raise InputError("output.not_a_directory", f"{final} exists and is not a directory.")
    if not overwrite:
        raise InputError(
            "output.exists", f"{final} exists already.", "Pass --overwrite to replace it."
        )
    if marker is not None and not _has_marker(final, marker) and any(final.iterdir()):
        lacking = f" holds no {marker}, so it" if isinstance(marker, str) else ""
        raise InputError(
            "output.foreign",
            f"{final}{lacking} was not written by this command and is kept.",
            "Choose another output directory.",
        )


def _has_marker(directory: Path, marker: Marker) -> bool:
    return (directory / marker).exists() if isinstance(marker, str) else marker(directory)


def _publish(new: Path, final: Path, aside: Path) -> None:
    """Rename `new` to `final`. The next run repairs a kill between the two renames."""
    try:
        if final.exists():
            final.rename(aside)
        new.rename(final)
    except BaseException:  # Ctrl-C too: whatever is left in `aside` is deleted with the workspace
        if aside.exists() and not final.exists():
            aside.rename(final)
        raise
    _sync(final.parent)


def _workspace(final: Path) -> tuple[Path, int]:
    """A new locked workspace next to `final`, and the file descriptor that holds its lock."""
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
        # Another run took it for a stale one before it was locked, and removes it: try again.


def _recover(parent: Path) -> None:
    """Restore directories that killed runs had moved aside, and remove their workspaces."""
    for workspace in parent.glob(f".*{_MARK}*"):
        named = _WORKSPACE.fullmatch(workspace.name)
        if named is not None:
            with suppress(OSError):  # a file, or another user's: not the caller's problem
                _clear(workspace, parent / named[1])


def _clear(workspace: Path, final: Path) -> None:
    """Restore from and remove one workspace, unless its run is alive or it has other contents."""
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
    with suppress(OSError):  # some file systems cannot sync directories; Windows cannot open them
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
