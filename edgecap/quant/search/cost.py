"""What a plan costs: bytes, and a stand-in for latency that holds on no device in particular.

Latency is **not measured** here: which of two plans is faster differs from engine to engine, and a
plan is made for all three formats. Bit operations stand in for it: multiply-adds times the bits of
a weight times the bits in which activations stand in memory (8·8 for w8a8, 8·32 for w8 and
w8_dequant, 32·32 for fp32), of one caption and one embedding of either kind. `edgecap bench`
measures bundles.

Letters: N outputs and D inputs of a layer, P patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecap.reference.quant import HEAD, layer_weights

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

CAPTION = 48  # tokens of a typical caption
BITS = {"w8a8": 8 * 8, "w8": 8 * 32, "w8_dequant": 8 * 32, "fp32": 32 * 32}  # of one multiply-add
WEIGHT_BYTES = {"w8a8": 1, "w8": 1, "w8_dequant": 1, "fp32": 4}
_TRAINING_ONLY = ("contrast_scale", "contrast_bias")


@dataclass(frozen=True)
class Costs:
    """Sizes of a model's layers; of plans, kinds by layer."""

    shapes: dict[str, tuple[int, int]]  # layer -> N, D
    rows: dict[str, int]  # layer -> vectors that pass it while a caption is made
    other: int  # parameters outside linear layers, which stay float32

    def bit_operations(self, kinds: Mapping[str, str]) -> int:
        return sum(self.of_layer(name, kind) for name, kind in kinds.items())

    def of_layer(self, name: str, kind: str) -> int:
        """Bit operations of one layer."""
        N, D = self.shapes[name]
        return N * D * self.rows[name] * BITS[kind]

    def size(self, kinds: Mapping[str, str]) -> int:
        """Bytes of the parameters; a format adds its graph, about 0.1 MB."""
        return 4 * self.other + sum(self.bytes_of(name, kind) for name, kind in kinds.items())

    def bytes_of(self, name: str, kind: str) -> int:
        """Of one layer: its weights, and in int8 a float32 scale per row."""
        N, D = self.shapes[name]
        return N * D * WEIGHT_BYTES[kind] + (4 * N if kind != "fp32" else 0)

    @property
    def half(self) -> int:
        """Bytes of all parameters in float16."""
        return 2 * (self.other + sum(N * D for N, D in self.shapes.values()))


def costs(network: CaptionModel) -> Costs:
    """The sizes of a model."""
    config = network.config
    shapes = {name: (w.shape[0], w.shape[1]) for name, w in layer_weights(network).items()}
    often = {"patch": config.patches, HEAD: CAPTION, "image_embedding": 1, "text_embedding": 1}
    rows = {name: often.get(name, config.patches + CAPTION) for name in shapes}
    whole = sum(p.numel() for n, p in network.named_parameters() if n not in _TRAINING_ONLY)
    return Costs(shapes, rows, whole - sum(N * D for N, D in shapes.values()))
