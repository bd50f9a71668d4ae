"""Memory of the inputs that a host writes between the calls of a function, and its outputs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from edgecap.core.errors import BundleError


class Buffer(NamedTuple):
    """An input that the host writes; undefined at first."""

    shape: tuple[int, ...]
    dtype: str


Buffers = Mapping[str, Buffer]


class Move(NamedTuple):
    """A part of an output that goes into a buffer after each call."""

    output: str
    part: Any  # of the output, as an index
    buffer: str
    place: Any  # in the buffer


class Outputs(NamedTuple):
    """What a function returns, as the interface declares it."""

    function: str
    tensors: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]  # name -> shape, type

    def checked(self, made: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a call in their declared types; BundleError for other shapes."""
        found = {}
        for name, (shape, dtype) in self.tensors.items():
            value = made[name]
            if value.shape != shape:
                raise BundleError(
                    "bundle.model",
                    f"{self.function} returned {name} {list(value.shape)}; the interface declares "
                    f"{list(shape)}.",
                )
            found[name] = value if value.dtype == dtype else value.astype(dtype)
        return found


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
