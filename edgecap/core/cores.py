"""How many cores there are to use, and how many threads may be requested."""

from __future__ import annotations

import os

MOST_THREADS = 1024  # no board or server has more cores, and engines fail in strange words


def usable_cores() -> int:
    """Cores that this process may run on: what a container leaves of the machine's, where known."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
