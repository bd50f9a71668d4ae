"""Free memory, and the number of images that fit in it.

Letters: H heads, Dh head width, P patches, D width.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from edgecap.bundle.interface import DTYPES, Interface

SHARE = 0.5  # of the free memory: other programs need some, and engines keep what they allocated
UNKNOWN = 1 << 30  # bytes, assumed on systems that do not report free memory
# A v1 group without a limit reports a number near 2^63.
_NO_LIMIT = 1 << 60


def free_bytes(root: Path = Path("/")) -> int:
    """Bytes that this process may still allocate, within the machine and its control groups.

    Read from proc(5) and cgroup v1 or v2 below `root` on Linux; elsewhere half of the physical
    memory.
    """
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return _physical() // 2
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    available = int(lines.get("MemAvailable", lines["MemFree"]).split()[0]) * 1024
    return min([available, *_groups(root)])


def image_bytes(interface: Interface) -> int:
    """Estimated peak memory in bytes of captioning one image of a batch.

    The state, the image rows before they are copied to it, the engine's copies of both, and the
    activations of encode. For model S: 19.5 MiB; measured 13 (PyTorch) to 21 (ONNX).
    """
    dims = interface.dims
    activations = 1 << 20
    if {"H", "Dh", "P"} <= dims.keys():
        width = dims["H"] * dims["Dh"]  # D
        activations = dims["P"] * (16 * width + 2 * dims["H"] * dims["P"]) * 4
    return _caption_bytes(interface) + activations


def images_that_fit(interface: Interface, free: int, beams: int = 1) -> int:
    """The number of images that a batch may have; at least 1.

    Beam search handles one image at a time: only one image has a state per beam.
    """
    left = int(SHARE * free) - (beams - 1) * _caption_bytes(interface)
    return max(1, left // image_bytes(interface))


def _caption_bytes(interface: Interface) -> int:
    """Bytes of one caption: the state, the image rows of caches, the engine's copies of both."""
    cached = sum(
        math.prod(interface.sizes(entry.encoded.shape, 1)) * DTYPES[entry.dtype]
        for entry in interface.entries("cache")
    )
    return 2 * (interface.state_bytes() + cached)


def _groups(root: Path) -> list[int]:
    """Bytes left in every control group that limits this process."""
    try:
        text = (root / "proc/self/cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    left: list[int] = []
    for line in filter(None, text.splitlines()):
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Limits of all parent groups apply too. In a container the path may not be visible; the
        # base always is.
        parts = Path(path.strip("/")).parts
        for depth in range(len(parts) + 1):
            left += _left(base.joinpath(*parts[:depth]), *names)
    return left


def _left(group: Path, limit: str, used: str, reclaimable: str) -> list[int]:
    """The bytes left in a group as a list of one number; empty if the group sets no limit.

    Cached files count as used, but the kernel frees them on demand.
    """
    try:
        most = (group / limit).read_text().strip()
        if most == "max" or int(most) > _NO_LIMIT:
            return []
        now = int((group / used).read_text())
    except (OSError, ValueError):
        return []
    try:
        stat = (group / "memory.stat").read_text().splitlines()
        cached = next(int(line.split()[1]) for line in stat if line.startswith(reclaimable + " "))
    except (OSError, StopIteration, ValueError, IndexError):
        cached = 0
    return [max(0, int(most) - now + cached)]


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2 * UNKNOWN
