"""Which layers stay wider, and why. Figures: benchmarks/LOG.md, 2026-11-23 and -25.

Residual sums, LayerNorm, GELU and softmax stay float: they are not linear layers and get no grid.
The output head and the two embedding layers keep float outputs (w8): int8 logits and embeddings
cost more than all other outputs together, and these layers see one row per call, so that rounding
their input as it comes costs nothing. Patches stay float on both sides (w8_dequant): int8 outputs were the
largest error of the first layers (5 % of the keys, where int8 weights alone cost 0.4 %), and each
engine rounds inputs as they come in its own way, so that formats parted by 2.8 % in layer 0. The
rows of location tokens need no more than the others.

In w8, where a grid is chosen as inputs come, those of mlp_out keep floats too: few of GELU's
outputs are large, and one large one in a call leaves the others few steps.
"""

from __future__ import annotations

from collections.abc import Mapping

HEAD = "token"
UNEVEN = ".mlp_out"
WIDE = {HEAD: "w8", "patch": "w8_dequant", "image_embedding": "w8", "text_embedding": "w8"}


def default_kind(layer: str, precision: str) -> str:
    """The kind of a layer where nothing else was asked for; `precision` is w8 or w8a8."""
    if precision == "w8" and layer.endswith(UNEVEN):
        return "w8_dequant"
    return WIDE.get(layer, precision)


def kinds(layers: Mapping[str, object], precision: str, keep: Mapping[str, str]) -> dict[str, str]:
    """The kind of every layer; `keep` names those that shall be wider, layer -> kind."""
    return {name: keep.get(name, default_kind(name, precision)) for name in layers}
