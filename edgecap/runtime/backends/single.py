"""The base class of all engines: functions by name, over arrays.

Letters as in edgecap.bundle.interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgecap.bundle.interface import DECODE, ENCODE, ENCODE_CROP
from edgecap.core.errors import BundleError, is_out_of_memory, one_line
from edgecap.runtime.backends.buffers import Buffers, Move, Outputs, allocated

Arrays = Mapping[str, np.ndarray]
# Functions that every caption needs; others are prepared at their first use.
_CAPTIONS_NEED = ("encode_image", ENCODE_CROP, ENCODE, DECODE)


def needed_at_once(functions: Iterable[str]) -> list[str]:
    """The functions of a bundle that are prepared when it is opened."""
    return [name for name in functions if name in _CAPTIONS_NEED]


def failed(file: str, error: Exception) -> Exception:
    """The exception to raise if an engine fails while running a file.

    MemoryError if memory ran out, whatever the engine raised: the caller then halves the batch.
    """
    if is_out_of_memory(error):
        return MemoryError(one_line(error))
    return BundleError("bundle.model", f"{file} failed to run: {one_line(error)}")


class FunctionSession(ABC):
    """The functions of one model on an engine. Thread-safe.

    `batch` is None if a call takes any B, and 1 if it takes one image or text at a time. `threads`
    is how many a call may use. `encodes_alone`: several images a call are encoded no faster.
    """

    batch: int | None = 1
    threads: int = 1
    encodes_alone: bool = False

    @abstractmethod
    def run(self, name: str, inputs: Arrays) -> Arrays:
        """Call one function, by the manifest's names of tensors."""

    def bind(self, name: str, fixed: Arrays, buffers: Buffers) -> Bound:
        """Prepare calls of one function whose inputs stay at their place in memory.

        `fixed` inputs never change; the host writes the others, in buffers of the engine's choice.
        """
        return Bound(self, name, {**fixed, **allocated(buffers)})

    def for_threads(self, count: int) -> Sequence[FunctionSession]:
        """The same functions for `count` threads that call at the same time, of one thread each.

        Where the engine cannot work like that, this session alone.
        """
        return [self]


class Bound:
    """One function over inputs that stay at their place between calls. For one thread."""

    def __init__(self, session: FunctionSession, name: str, inputs: Arrays) -> None:
        self._session, self._name, self._inputs = session, name, dict(inputs)

    def step(self, values: Mapping[str, Any], moves: Sequence[Move], outputs: Outputs) -> Arrays:
        """Fill buffers, call the function, and move parts of its outputs into buffers.

        `values`: of whole buffers, of any form that NumPy can copy into them. `outputs`: the
        declared shapes and types. Returns the outputs that were not moved, and possibly others;
        later calls do not overwrite them.
        """
        for name, value in values.items():
            self._put(name, value)
        made = outputs.checked(self._session.run(self._name, self._inputs))
        self._move(made, moves)
        return made

    def fill(self, name: str, inputs: Arrays, moves: Sequence[Move], outputs: Outputs) -> None:
        """Call another function, and move parts of its outputs into the buffers of this one."""
        self._move(outputs.checked(self._session.run(name, inputs)), moves)

    def _move(self, made: Arrays, moves: Sequence[Move]) -> None:
        for move in moves:
            self._put(move.buffer, made[move.output][move.part], move.place)

    def first(self, count: int, fixed: Arrays) -> Bound:
        """The same for the first `count` items of the buffers, which stay where they are.

        The first axis of every buffer must be that of the batch. `fixed`: the other inputs.
        """
        return Bound(self._session, self._name, self._of_first(count, fixed))

    def _of_first(self, count: int, fixed: Arrays) -> dict[str, np.ndarray]:
        return {name: value[:count] for name, value in self._inputs.items()} | dict(fixed)

    def write(self, name: str, value: Any, place: Any = ...) -> None:
        """Write a buffer, or the part of it at `place`."""
        self._put(name, value, place)

    def _put(self, name: str, value: Any, place: Any = ...) -> None:
        self._inputs[name][place] = value

    def read(self, name: str, place: Any = ...) -> np.ndarray:
        """What a buffer holds, or the part of it at `place`; valid until the next write."""
        return self._inputs[name][place]
