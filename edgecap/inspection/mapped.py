"""Memory-mapped files: only the pages that are accessed are read."""

from __future__ import annotations

import mmap
import os

from edgecap.core.errors import BundleError
from edgecap.core.packed import AnyFile, PackedFile


def map_file(path: AnyFile) -> memoryview:
    """The bytes of a file, mapped read-only; BundleError if it is missing or empty."""
    if isinstance(path, PackedFile):
        data = path.data()
        if not data:
            what = "does not exist" if data is None else "is empty"
            raise BundleError("bundle.missing", f"{path} {what}.")
        return data
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise BundleError("bundle.missing", f"{path} {what}.")
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise BundleError("bundle.truncated", f"{path} is empty.")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def file_size(path: AnyFile) -> int | None:
    """Bytes of a file; None if there is none, or its name is invalid."""
    if isinstance(path, PackedFile):
        data = path.data()
        return None if data is None else len(data)
    return path.stat().st_size if os.path.isfile(path) else None
