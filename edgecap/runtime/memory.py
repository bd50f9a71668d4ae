"""How much memory there is, and how many images fit in it.

Letters as in session.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgecap.bundle.manifest import Contract

SHARE = 0.5  # of what is free: other programs live too, and engines keep what they once took
UNKNOWN = 1 << 30  # bytes, on a system that does not tell
# A v1 group without a limit says a number near 2^63.
_NO_LIMIT = 1 << 60


def free_bytes(root: Path = Path("/")) -> int:
    """Memory this process may still take: of the machine, and of its control groups.

    Reads what Linux tells (proc(5), cgroup v1 and v2) below `root`; elsewhere half of the machine's
    memory.
    """
    try:
        told = (root / "proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return _physical() // 2
    lines = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    available = int(lines.get("MemAvailable", lines["MemFree"]).split()[0]) * 1024
    return min([available, *_groups(root)])


def image_bytes(contract: Contract) -> int:
    """About what captioning one image of a batch takes at its peak.

    The cache, the image's rows before they are put there, an engine's copies of both, and the
    activations of encode_image. For S that is 19.5 MiB; measured were 13 (PyTorch) to 21 (ONNX).
    """
    width = contract.heads * contract.head_width  # D
    activations = contract.patches * (16 * width + 2 * contract.heads * contract.patches) * 4
    return _cache_bytes(contract) + activations


def images_that_fit(contract: Contract, free: int, beams: int = 1) -> int:
    """How many images a batch may have; at least 1.

    Beams are searched one image after the other: only one at a time has a cache for each.
    """
    left = int(SHARE * free) - (beams - 1) * _cache_bytes(contract)
    return max(1, left // image_bytes(contract))


def _cache_bytes(contract: Contract) -> int:
    """Of one caption: the cache, the image's rows, and an engine's copies of both."""
    row = contract.layers * contract.heads * contract.head_width * 2 * 4  # k and v, float32
    return 2 * row * (contract.context + contract.patches)


def _groups(root: Path) -> list[int]:
    """Bytes left in every control group that limits this process."""
    try:
        told = (root / "proc/self/cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    left: list[int] = []
    for line in filter(None, told.splitlines()):
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Limits of all groups above count too. In a container the path may not be visible, the base
        # always is.
        parts = Path(path.strip("/")).parts
        for depth in range(len(parts) + 1):
            left += _left(base.joinpath(*parts[:depth]), *names)
    return left


def _left(group: Path, limit: str, used: str, reclaimable: str) -> list[int]:
    """What a group has left, as a list of one number, or of none where it sets no limit.

    Cached files count as used and are given back at need.
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
