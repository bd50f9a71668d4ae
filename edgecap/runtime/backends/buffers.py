"""Memory of the inputs that a host writes between the calls of a function."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Buffer(NamedTuple):
    """An input that the host writes; undefined at first."""

    shape: tuple[int, ...]
    dtype: str


Buffers = Mapping[str, Buffer]


def allocated(buffers: Buffers) -> dict[str, np.ndarray]:
    """New memory for every buffer."""
    return {name: np.empty(one.shape, one.dtype) for name, one in buffers.items()}


class Pool:
    """Keeps the memory of one use for the next: new pages cost a fault each. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, np.ndarray] = {}

    def take(self, buffers: Buffers) -> dict[str, np.ndarray]:
        """Memory for every buffer, with any content."""
        with self._lock:
            kept, self._kept = self._kept, {}
        known = {name: Buffer(one.shape, one.dtype.name) for name, one in kept.items()}
        return kept if known == buffers else allocated(buffers)

    def give_back(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep the memory of `take` for the next caller; nobody may use it any more."""
        with self._lock:
            self._kept = arrays
