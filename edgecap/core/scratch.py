"""Temporary directories that a killed run does not leave for ever.

Each is locked while it is in use. Making one deletes those of the same prefix that nobody holds.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecap.core.errors import UnsupportedError
from edgecap.core.locks import open_locked

_YOUNG = 60  # s: one that was made just now may not be locked yet


@contextmanager
def scratch_dir(prefix: str, parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """A new directory, by default in the system's place for such, deleted in the end.

    `prefix` names the directory; leftovers of killed runs with it are deleted first; it
    begins with "edgecap-".
    """
    place = Path(parent or tempfile.gettempdir())
    sweep(place, prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as made:
        lock = _locked(Path(made))
        try:
            yield Path(made)
        finally:
            if lock is not None:
                os.close(lock)


def sweep(place: Path, prefix: str) -> None:
    """Delete the directories of a prefix that are ours, not young, and held by nobody."""
    if not prefix.startswith("edgecap-") or not hasattr(os, "getuid"):
        return
    for leftover in place.glob(f"{prefix}*"):
        with suppress(OSError):
            status = leftover.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG:
                continue
            lock = _locked(leftover)
            if lock is not None:
                shutil.rmtree(leftover, ignore_errors=True)
                os.close(lock)


def _locked(directory: Path) -> int | None:
    with suppress(UnsupportedError, OSError):
        return open_locked(directory)
    return None
