"""The machine of a measurement, without which a latency means nothing."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgecap.core.formats import backends


def machine() -> dict[str, Any]:
    """CPU model, cores, system, load, UTC date, and versions of the installed packages."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": [round(value, 2) for value in _load()],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": {"Python": platform.python_version(), **_versions()},
    }


def _load() -> tuple[float, ...]:
    """Runnable processes over 1, 5 and 15 minutes; empty on Windows."""
    return os.getloadavg() if hasattr(os, "getloadavg") else ()


def cpu_model() -> str:
    """The name of the processor, as the system reports it."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        # x86 has "model name"; boards with Arm cores have "Model" or "Hardware", or nothing.
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.processor() or platform.machine()


def peak_rss_mb() -> float:
    """Peak memory of this process so far, MiB."""
    return memory_mb()[0]


def memory_mb() -> tuple[float, float | None]:
    """Peak memory of this process so far and its memory now, MiB.

    Both come from one reading, so that the peak is never below the memory now. The second is
    None where the system does not report it.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024), None
    # ru_maxrss would be wrong: on Linux a new process inherits the peak of its parent.
    return _status_mb(status, "VmHWM"), _status_mb(status, "VmRSS")


def _status_mb(status: str, key: str) -> float:
    line = next(line for line in status.splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024


def _versions() -> dict[str, str]:
    engines = (package.name for one in backends().values() for package in one.packages)
    found = {}
    for package in dict.fromkeys(("edgecap", "numpy", *engines, "torch")):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
