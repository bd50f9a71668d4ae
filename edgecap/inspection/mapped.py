"""Memory-mapped files: only the pages that are accessed are read."""

from __future__ import annotations

import mmap
from pathlib import Path

from edgecap.core.errors import BundleError


def map_file(path: Path) -> memoryview:
    """The bytes of a file, mapped read-only; BundleError if it is missing or empty."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise BundleError("bundle.missing", f"{path} {what}.")
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise BundleError("bundle.truncated", f"{path} is empty.")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
