"""The number of usable CPU cores, and the limit of threads."""

from __future__ import annotations

import os

MOST_THREADS = 1024  # no board or server has more cores; engines fail with unclear errors


def usable_cores() -> int:
    """Cores that this process may use, within the limits of its container where known."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
