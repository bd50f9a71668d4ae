"""The parameters of a model for ONNX graphs, a block of rows at a time: never all in memory.

A model without weights (edgecap.models.weightless) is read from its safetensors, one that is
loaded from its own tensors: what a quantiser changed in memory is what is exported.
Letters: N rows, the first axis of a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgecap.core.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from edgecap.models.checkpoint import Checkpoint

BLOCK_ELEMENTS = 4 << 20  # 16 MiB of float32
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}


class Source(Protocol):
    """One parameter, wherever it is."""

    shape: tuple[int, ...]

    def read(self, first: int, count: int) -> np.ndarray:
        """Rows from `first` on, float32 [count, …]; all of a scalar."""
        ...


class InFile:
    """A tensor of a safetensors file."""

    def __init__(self, file: Path, offset: int, dtype: str, shape: tuple[int, ...]) -> None:
        if dtype not in DTYPES:
            raise UnsupportedError(
                "model.dtype",
                f"{file.name} holds weights in {dtype}; known: {', '.join(DTYPES)}.",
                "Save the model again in one of them: from_pretrained(..., dtype=...)",
            )
        self.shape, self._file, self._offset, self._dtype = shape, file, offset, dtype

    def read(self, first: int, count: int) -> np.ndarray:
        """As of `Source`."""
        kind, row = DTYPES[self._dtype], self.shape[1:]
        size = math.prod(row)
        offset = self._offset + first * size * kind.itemsize
        values = np.fromfile(self._file, kind, count * size, offset=offset)
        if self._dtype == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32, copy=False).reshape((count, *row) if self.shape else ())


class InMemory:
    """A parameter of a loaded model."""

    def __init__(self, parameter: Any) -> None:
        self.shape, self._tensor = tuple(parameter.shape), parameter.detach()

    def read(self, first: int, count: int) -> np.ndarray:
        """As of `Source`."""
        part = self._tensor[first : first + count] if self.shape else self._tensor
        return part.float().numpy()


class Parameters:
    """The parameters of a model, by the names that traced graphs give them."""

    def __init__(self, model: nn.Module, checkpoint: Checkpoint | None = None) -> None:
        """A model without weights needs its checkpoint; errors as of `weightless.stored`."""
        paths = dict(model.named_parameters(remove_duplicate=False))
        first: dict[int, str] = {}
        self._paths = {path: first.setdefault(id(value), path) for path, value in paths.items()}
        self.aliases: dict[str, list[str]] = {}  # one path of a parameter -> all of them
        for path, same in self._paths.items():
            self.aliases.setdefault(same, []).append(path)
        self._sources: dict[str, Source]
        if any(hasattr(value, "fake_mode") for value in paths.values()):
            assert checkpoint is not None
            self._sources = _in_files(model, checkpoint)
        else:
            self._sources = {path: InMemory(value) for path, value in paths.items()}

    def find(self, initializer: str) -> str | None:
        """The parameter behind an initializer of a graph; None: it is a constant."""
        return self._paths.get(initializer.removeprefix("model."))

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the parameter `name`, as `find` gave it."""
        return self._sources[name].shape

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """All of a parameter, float32 [n, …] of as many rows as fit a block."""
        source = self._sources[name]
        if not source.shape:
            yield source.read(0, 1)
            return
        rows = source.shape[0]
        step = max(1, BLOCK_ELEMENTS // max(1, math.prod(source.shape[1:])))
        for start in range(0, rows, step):
            yield source.read(start, min(step, rows - start))

    def whole(self, name: str) -> np.ndarray:
        """All of a parameter at once, float32."""
        shape = self.shape(name)
        return np.concatenate(list(self.blocks(name))) if shape else next(self.blocks(name))


def _in_files(model: nn.Module, checkpoint: Checkpoint) -> dict[str, Source]:
    from edgecap.models.weightless import stored

    return {
        path: InFile(place.file, place.offset, place.dtype, place.shape)
        for path, place in stored(model, checkpoint).items()
    }
