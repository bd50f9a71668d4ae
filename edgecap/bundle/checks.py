"""Verification of a bundle's files against its manifest, on opening and on later use."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import NamedTuple

from edgecap.bundle.files import FileEntry
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError
from edgecap.core.typed import MAX_JSON_BYTES

VERIFY = ("sizes", "full")
# Files up to this size are hashed even with verify="sizes": manifests, tokenizers, graphs, small
# models. 16 MiB take 10 ms on processors with SHA instructions and 0.1 s on a Raspberry Pi 4, less
# than an engine needs to open the file. Larger files are hashed with verify="full", and whenever
# they change after the bundle was opened.
SMALL = 16 << 20  # bytes

LFS = b"version https://git-lfs.github.com/spec/"
_SETTLED = 2_000_000_000  # ns; changes within one clock tick of the file system are not detectable
_AGAIN = "Copy the bundle again, or export it again."


class State(NamedTuple):
    """Metadata that changes when a file does, and the time of the observation."""

    device: int
    inode: int
    size: int
    modified: int  # ns
    changed: int  # ns; users cannot set it
    observed: int  # ns

    def is_still(self, now: State) -> bool:
        """Whether the file has certainly not changed between the two observations."""
        return self[:5] == now[:5] and self.changed + _SETTLED < self.observed

    @classmethod
    def of(cls, status: os.stat_result) -> State:
        times = (status.st_mtime_ns, status.st_ctime_ns, time.time_ns())
        return cls(status.st_dev, status.st_ino, status.st_size, *times)


def state_of(path: Path) -> State:
    """The state of a file, or of the target of a link; OSError if it does not exist."""
    return State.of(os.stat(path))


def check_file(path: Path, name: str, entry: FileEntry, verify: str) -> State:
    """Verify a file and return its state; BundleError (bundle.*) if it differs from its entry.

    With verify "sizes", only the size of a file of more than SMALL bytes is checked.
    """
    state = state_of(path)
    if state.size != entry.size:
        code = "bundle.truncated" if state.size < entry.size else "bundle.oversized"
        raise _wrong(
            code, path, name, entry, f"has {state.size} bytes; the manifest says {entry.size}"
        )
    if (verify == "full" or entry.size <= SMALL) and file_sha256(path) != entry.sha256:
        problem = "is not the file the manifest was written for"
        raise _wrong("bundle.altered", path, name, entry, problem)
    return state


def check_packed(data: memoryview, name: str, entry: FileEntry, verify: str) -> None:
    """As `check_file`, for a file inside an archive."""
    if len(data) != entry.size:
        code = "bundle.truncated" if len(data) < entry.size else "bundle.oversized"
        problem = f"{name} has {len(data)} bytes; the manifest says {entry.size}."
        raise BundleError(code, problem, _AGAIN)
    hashed = verify == "full" or entry.size <= SMALL
    if hashed and hashlib.sha256(data).hexdigest() != entry.sha256:
        problem = f"{name} is not the file the manifest was written for."
        raise BundleError("bundle.altered", problem, _AGAIN)


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is a Git LFS pointer instead of the file itself."""
    with path.open("rb") as file:
        return file.read(len(LFS)) == LFS


def lfs_pointer(name: str) -> BundleError:
    return BundleError(
        "bundle.lfs_pointer",
        f"{name} is a Git-LFS pointer; the file itself was not downloaded.",
        "Run: git lfs pull",
    )


def _wrong(code: str, path: Path, name: str, entry: FileEntry, problem: str) -> BundleError:
    if is_lfs_pointer(path):
        return lfs_pointer(name)
    if _has_other_line_ends(path, entry):
        return BundleError(
            code,
            f"{name} has changed line ends (CRLF).",
            "Copy the bundle again, with git config core.autocrlf false.",
        )
    return BundleError(code, f"{name} {problem}.", _AGAIN)


def _has_other_line_ends(path: Path, entry: FileEntry) -> bool:
    if path.suffix != ".json" or entry.size > MAX_JSON_BYTES:
        return False
    with path.open("rb") as file:
        data = file.read(2 * MAX_JSON_BYTES)
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest() == entry.sha256
