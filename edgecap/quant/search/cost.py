"""What a plan costs: bytes, and a stand-in for latency that holds on no device in particular.

Latency is **not measured** here: which of two plans is faster differs from engine to engine, and a
plan is made for all three formats. Bit operations stand in for it: multiply-adds times the bits of
a weight times the bits in which activations stand in memory (8·8 for w8a8, 8·32 for w8 and
w8_dequant, 32·32 for fp32), per image of the calibration set. `edgecap bench` measures bundles.

Letters: N outputs and D inputs of a layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from edgecap.quant.search.sensitivity import CalibrationCaptions
from edgecap.quant.subject import Subject

BITS = {"w8a8": 8 * 8, "w8": 8 * 32, "w8_dequant": 8 * 32, "fp32": 32 * 32}  # of one multiply-add
WEIGHT_BYTES = {"w8a8": 1, "w8": 1, "w8_dequant": 1, "fp32": 4}


@dataclass(frozen=True)
class Costs:
    """Sizes of a model's layers; of plans, kinds by layer."""

    shapes: dict[str, tuple[int, int]]  # layer -> N, D
    rows: dict[
        str, int
    ]  # layer -> vectors that pass it per image; of one that multiplies: 1 or more
    other: int  # parameters outside these layers, which stay float32

    def bit_operations(self, kinds: Mapping[str, str]) -> int:
        return sum(self.of_layer(name, kinds[name]) for name in self.rows)

    def of_layer(self, name: str, kind: str) -> int:
        """Bit operations of one layer."""
        N, D = self.shapes[name]
        return N * D * self.rows[name] * BITS[kind]

    def size(self, kinds: Mapping[str, str]) -> int:
        """Bytes of the parameters; a format adds its graph, about 0.1 MB."""
        return 4 * self.other + sum(self.bytes_of(name, kinds[name]) for name in self.shapes)

    def bytes_of(self, name: str, kind: str) -> int:
        """Of one layer: its weights, and in int8 a float32 scale per row."""
        N, D = self.shapes[name]
        return N * D * WEIGHT_BYTES[kind] + (4 * N if kind != "fp32" else 0)

    @property
    def half(self) -> int:
        """Bytes of all parameters in float16."""
        return 2 * (self.other + sum(N * D for N, D in self.shapes.values()))


def costs(subject: Subject, calibration_set: CalibrationCaptions) -> Costs:
    """The sizes of a model, and how much of it an image runs, counted on a calibration set."""
    counter = _Counter()
    for _ in calibration_set.replay(subject.tapped(counter), "counting operations"):
        pass
    weights = subject.weights()
    shapes = {name: (w.shape[0], w.shape[1]) for name, w in weights.items()}
    rows = {
        name: max(1, counter.vectors[name] // len(calibration_set))
        for name in shapes
        if name in counter
    }
    whole = sum(parameter.numel() for parameter in subject.model.parameters())
    return Costs(shapes, rows, whole - sum(N * D for N, D in shapes.values()))


class _Counter:
    """A hook that counts the vectors that pass each layer.

    Tables that are only looked up in, and convolutions, multiply with nothing that it sees.
    """

    def __init__(self) -> None:
        self.vectors: Counter[str] = Counter()

    def __contains__(self, layer: str) -> bool:
        return layer in self.vectors

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        self.vectors[layer] += x.numel() // x.shape[-1]
        return F.linear(x, weight)

    def stored(self, layer: str, weight: Tensor) -> Tensor:
        return weight
