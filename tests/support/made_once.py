"""What several workers of a test run need, made by the first of them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory that `make` filled, once for all workers. Nobody may change it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker's directory lies in that of the run
        root = root.parent
    place, done = root / name, root / f"{name}-done"
    place.mkdir(exist_ok=True)
    with (root / f"{name}-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be making it
        if not done.exists():
            make(place)
            done.touch()
    return place
