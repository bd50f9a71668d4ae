"""The result of every reader: functions, operations and weights, in the same terms for all formats.

Element types are named fp32, fp16, bf16, int8, uint4, bool … in every format.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

MAX_COUNTED = 1 << 62  # elements; larger shapes are invalid


@dataclass(frozen=True)
class Tensor:
    """An input, output or state. A size is a number, a name, or None if it is unknown."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]
    note: str = ""  # flexible, optional


@dataclass(frozen=True)
class FunctionInfo:
    """One entry point: an ONNX graph, a TFLite signature, a function of an ML program."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    ops: dict[str, int]  # operation -> count, most frequent first; constants are in Weights


@dataclass(frozen=True)
class Weights:
    """All constants of one storage kind; each is counted once, even if used several times."""

    kind: str  # an element type, "palettised 4-bit" or "sparse fp16"
    tensors: int
    elements: int
    bytes: int
    share: float  # of the bytes of all constants, 0-1


@dataclass(frozen=True)
class Contents:
    """The description of one model."""

    format: str  # onnx, tflite or coreml
    version: str  # of the file format, and the runtime it needs
    producer: str
    bytes: int  # of the model and its external weight files
    functions: tuple[FunctionInfo, ...]
    weights: tuple[Weights, ...]  # largest first


@dataclass
class Tally:
    """Sums up constants by kind; a `key` is counted once."""

    _kinds: dict[str, list[int]] = field(default_factory=dict)
    _seen: set[Hashable] = field(default_factory=set)

    def add(self, kind: str, elements: int, bytes_: int, key: Hashable = None) -> None:
        if key is not None:
            if key in self._seen:
                return
            self._seen.add(key)
        sums = self._kinds.setdefault(kind, [0, 0, 0])
        for i, more in enumerate((1, elements, bytes_)):
            sums[i] += more

    def weights(self) -> tuple[Weights, ...]:
        total = sum(bytes_ for _, _, bytes_ in self._kinds.values())
        weights = [
            Weights(kind, tensors, elements, bytes_, bytes_ / total if total else 0.0)
            for kind, (tensors, elements, bytes_) in self._kinds.items()
        ]
        return tuple(sorted(weights, key=lambda each: (-each.bytes, each.kind)))


def most_frequent_first(ops: dict[str, int]) -> dict[str, int]:
    return dict(sorted(ops.items(), key=lambda item: (-item[1], item[0])))


def element_count(shape: list[int]) -> int:
    """The number of elements of a tensor; ValueError for an impossible shape."""
    count = 1
    for size in shape:
        count *= size
        if size < 0 or count > MAX_COUNTED:
            raise ValueError(f"a constant has the impossible shape {shape[:8]}")
    return count
