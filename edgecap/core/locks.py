"""Exclusive locks, so that two runs do not write to the same place. POSIX only."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from edgecap.core.errors import UnsupportedError


def open_locked(directory: Path) -> int | None:
    """A file descriptor that holds the lock of a directory (not a link) until closed or killed.

    None if another run holds the lock, or the directory is gone. UnsupportedError on Windows.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        raise UnsupportedError(
            "system.unsupported",
            f"directories are written on Linux and macOS only; this is {sys.platform}.",
            "On Windows run it in WSL; captioning works without.",
        ) from None
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    held = False
    try:
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = directory.stat().st_ino == os.fstat(descriptor).st_ino
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


def lock_file(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if another run holds the lock.

    Where the system has no such locks (Windows, some network drives) nothing is locked.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
