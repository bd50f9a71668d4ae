"""The base class of all engines: functions by name, over arrays.

Letters as in edgecap.bundle.interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgecap.bundle.interface import DECODE, ENCODE, ENCODE_CROP
from edgecap.core.errors import BundleError, is_out_of_memory, one_line

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

    `batch` is None if a call takes any B, and 1 if it takes one image or text at a time.
    """

    batch: int | None = 1

    @abstractmethod
    def run(self, name: str, inputs: Arrays) -> Arrays:
        """Call one function, by the manifest's names of tensors."""

    def bind(self, name: str, inputs: Arrays) -> Bound:
        """Prepare calls of one function with inputs that stay at their place in memory."""
        return Bound(self, name, inputs)


class Bound:
    """One function over `inputs`, which the host changes in place between calls.

    An engine that keeps the inputs in memory of its own must learn of changes: `wrote` for a
    part, `changed` for anything. `token` and `position` are read in every call. For one thread.
    """

    def __init__(self, session: FunctionSession, name: str, inputs: Arrays) -> None:
        self._session, self._name, self.inputs = session, name, inputs

    def run(self) -> Arrays:
        """The outputs, valid until the next call."""
        return self._session.run(self._name, self.inputs)

    def wrote(self, name: str, place: Any) -> None:
        """The host has written `inputs[name][place]`."""

    def changed(self) -> None:
        """The host may have written anything."""
