"""What every reader gives: functions, operations and weights, in the same words for each format.

Element types are named fp32, fp16, bf16, int8, uint4, bool … in all of them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

MAX_COUNTED = 1 << 62  # a tensor of more is no tensor


@dataclass(frozen=True)
class Tensor:
    """An input, output or state. A size is a number, a name, or None where nothing is said."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]
    note: str = ""  # flexible, optional


@dataclass(frozen=True)
class Function:
    """One entry point: an ONNX graph, a TFLite signature, a function of an ML program."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    ops: dict[str, int]  # operation -> how often, most frequent first; constants are weights


@dataclass(frozen=True)
class Weights:
    """All constants that are stored one way, each counted once however often it is used."""

    kind: str  # an element type, "palettised 4-bit" or "sparse fp16"
    tensors: int
    elements: int
    bytes: int
    share: float  # of the bytes of all constants, 0-1


@dataclass(frozen=True)
class Contents:
    """The facts of one model."""

    format: str  # onnx, tflite or coreml
    version: str  # of the file format, and what it needs
    producer: str
    bytes: int  # of the model with the files that hold its weights
    functions: tuple[Function, ...]
    weights: tuple[Weights, ...]  # largest first


@dataclass
class Tally:
    """Adds up constants by kind; the same `key` again adds nothing."""

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
        found = [
            Weights(kind, tensors, elements, bytes_, bytes_ / total if total else 0.0)
            for kind, (tensors, elements, bytes_) in self._kinds.items()
        ]
        return tuple(sorted(found, key=lambda weights: (-weights.bytes, weights.kind)))


def most_frequent_first(ops: dict[str, int]) -> dict[str, int]:
    return dict(sorted(ops.items(), key=lambda item: (-item[1], item[0])))


def element_count(shape: list[int]) -> int:
    """Elements of a tensor of that shape; ValueError where there can be no such tensor."""
    count = 1
    for size in shape:
        count *= size
        if size < 0 or count > MAX_COUNTED:
            raise ValueError(f"a constant has the impossible shape {shape[:8]}")
    return count
