"""The file of weights that all graphs of a bundle share, written a block at a time.

A tensor of a page or more begins on one, so that an engine maps it instead of reading it. Each is
written once, whatever the number of graphs and nodes that use it, and none is ever whole in memory
but where its outputs lie last (Conv1D of GPT-2).

Letters: N outputs (rows of a parameter), K inputs.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from edgecap.core.errors import UnsupportedError
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.quant.rounding import rows

PAGE = 4096  # bytes; the smallest page of the systems that map files
ALIGNMENT = 64  # bytes, of tensors smaller than a page


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the file, and what it is."""

    offset: int  # bytes
    length: int  # bytes
    dtype: str  # of NumPy
    shape: tuple[int, ...]


class WeightsFile:
    """Writes tensors into one file; a second request for the same one returns its place."""

    def __init__(self, path: Path, parameters: Parameters) -> None:
        self._parameters = parameters
        self._file = path.open("wb")
        self._end = 0
        self._places: dict[tuple[str, ...], Place] = {}

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def floats(self, name: str, dtype: str, transposed: bool) -> Place:
        """A parameter as `dtype` (float32 or float16); `transposed`: [K,N] of a matrix [N,K]."""
        key = (name, dtype, str(transposed))
        if key not in self._places:
            shape = self._parameters.shape(name)
            blocks = (_cast(name, block, dtype) for block in self._parameters.blocks(name))
            shape = shape[::-1] if transposed else shape
            self._places[key] = self._write(blocks, np.dtype(dtype), shape, transposed)
        return self._places[key]

    def rounded(self, name: str, transposed: bool, outputs_last: bool) -> tuple[Place, Place]:
        """A parameter as int8, and its scales float32 [N].

        `outputs_last`: a matrix [K,N], as GPT-2's layers keep it; others have outputs first.
        """
        key, scale_key = (name, "int8", str(transposed)), (name, "scale")
        if key not in self._places:
            shape, scales = self._parameters.shape(name), []

            def blocks() -> Iterator[np.ndarray]:
                if outputs_last:
                    quantised, scale = rows(self._parameters.whole(name).T)
                    scales.append(scale)
                    yield np.ascontiguousarray(quantised.T)
                    return
                for block in self._parameters.blocks(name):
                    quantised, scale = rows(block.reshape(len(block), -1))  # [n,K], [n]
                    scales.append(scale)
                    yield quantised.reshape(block.shape)

            written = shape[::-1] if transposed else shape
            self._places[key] = self._write(blocks(), np.dtype("int8"), written, transposed)
            if scale_key not in self._places:
                self._places[scale_key] = self._array(np.concatenate(scales))
        return self._places[key], self._places[scale_key]

    def sums(self, name: str, outputs_last: bool) -> np.ndarray:
        """The sum of the int8 weights of every output, int32 [N]; `outputs_last` as above."""
        blocks = self._parameters.blocks(name)
        whole = [self._parameters.whole(name).T] if outputs_last else blocks
        rounded = (rows(block.reshape(len(block), -1))[0] for block in whole)  # [n,K]
        return np.concatenate([block.sum(1, dtype=np.int32) for block in rounded])

    def constant(self, array: np.ndarray) -> Place:
        """What is no parameter; equal ones once."""
        key = (hashlib.sha256(array.tobytes()).hexdigest(), array.dtype.str, str(array.shape))
        if key not in self._places:
            self._places[key] = self._array(array)
        return self._places[key]

    def _array(self, array: np.ndarray) -> Place:
        return self._write(iter([array]), array.dtype, array.shape, transposed=False)

    def _write(
        self,
        blocks: Iterator[np.ndarray],
        dtype: np.dtype,
        shape: tuple[int, ...],
        transposed: bool,
    ) -> Place:
        length = math.prod(shape) * dtype.itemsize
        start = aligned(self._end, length)
        handle, done = self._file.fileno(), 0
        os.truncate(handle, start + length)
        for block in blocks:
            if not transposed or len(block) == shape[-1]:
                put(handle, (block.T if transposed else block).astype(dtype), start + done)
                done += block.nbytes if not transposed else 0
                continue
            # Each row of the result gets a piece: [K,n] of [K,N].
            for k, piece in enumerate(np.ascontiguousarray(block.T)):
                put(handle, piece, start + (k * shape[-1] + done) * dtype.itemsize)
            done += len(block)
        self._end = start + length
        return Place(start, length, dtype.name, shape)


def aligned(end: int, length: int) -> int:
    """Where a tensor of `length` bytes begins behind `end`."""
    unit = PAGE if length >= PAGE else ALIGNMENT
    return -(-end // unit) * unit


def put(handle: int, array: np.ndarray, offset: int) -> None:
    """All bytes of an array at `offset` of a file."""
    data = np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _cast(name: str, block: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        cast = block.astype(dtype, copy=False)
    if dtype == "float16" and not np.isfinite(cast).all() and np.isfinite(block).all():
        raise UnsupportedError(
            "export.fp16_range",
            f"{name} has values beyond float16: {np.abs(block).max():.3g}.",
            "Export with --precision fp32.",
        )
    return cast
