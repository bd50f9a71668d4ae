"""Whether a file of a bundle is the one that its manifest was written for, and still is."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import NamedTuple

from edgecap.bundle.manifest import FileEntry
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError
from edgecap.core.typed import MAX_JSON_BYTES

VERIFY = ("sizes", "full")
# What verify="sizes" hashes all the same: manifests, tokenizers, graphs, the models of boards.
# 16 MiB take 10 ms where the processor has SHA instructions and 0.1 s on a Raspberry Pi 4, less
# than an engine needs to open the same file. Of larger files every byte is read by
# verify="full", and by all of them whenever they change after the bundle was opened.
SMALL = 16 << 20  # bytes

_LFS = b"version https://git-lfs.github.com/spec/"
_SETTLED = 2_000_000_000  # ns; a file may change unseen within one tick of its file system's clock
_AGAIN = "Copy the bundle again, or export it again."


class State(NamedTuple):
    """What changes when a file does, and when that was looked at."""

    device: int
    inode: int
    size: int
    modified: int  # ns
    changed: int  # ns; no user can set it
    seen: int  # ns

    def is_still(self, now: State) -> bool:
        """Whether the file has surely not changed between the two looks."""
        return self[:5] == now[:5] and self.changed + _SETTLED < self.seen


def state_of(path: Path) -> State:
    """The state of a file, or of what a link leads to; OSError where there is none."""
    status = os.stat(path)
    times = (status.st_mtime_ns, status.st_ctime_ns, time.time_ns())
    return State(status.st_dev, status.st_ino, status.st_size, *times)


def check_file(path: Path, name: str, entry: FileEntry, verify: str) -> State:
    """The state of a file that is as listed; BundleError (bundle.*) where it is not.

    With verify "sizes" a file of more than SMALL bytes is believed if it has the right size.
    """
    state = state_of(path)
    if state.size != entry.size:
        code = "bundle.truncated" if state.size < entry.size else "bundle.oversized"
        raise _wrong(
            code, path, name, entry, f"has {state.size} bytes; the manifest says {entry.size}"
        )
    if (verify == "full" or entry.size <= SMALL) and file_sha256(path) != entry.sha256:
        told = "is not the file the manifest was written for"
        raise _wrong("bundle.altered", path, name, entry, told)
    return state


def is_lfs_pointer(path: Path) -> bool:
    """Whether git left a pointer where Git LFS would have put the file."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def lfs_pointer(name: str) -> BundleError:
    return BundleError(
        "bundle.lfs_pointer",
        f"{name} is a Git-LFS pointer; the file itself was not downloaded.",
        "Run: git lfs pull",
    )


def _wrong(code: str, path: Path, name: str, entry: FileEntry, told: str) -> BundleError:
    if is_lfs_pointer(path):
        return lfs_pointer(name)
    if _has_other_line_ends(path, entry):
        return BundleError(
            code,
            f"{name} was given other line ends (CRLF) on its way.",
            "Copy the bundle again, with git config core.autocrlf false.",
        )
    return BundleError(code, f"{name} {told}.", _AGAIN)


def _has_other_line_ends(path: Path, entry: FileEntry) -> bool:
    if path.suffix != ".json" or entry.size > MAX_JSON_BYTES:
        return False
    with path.open("rb") as file:
        data = file.read(2 * MAX_JSON_BYTES)
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest() == entry.sha256
