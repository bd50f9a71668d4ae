"""Which layers stay wider, and why. Figures: benchmarks/LOG.md, 2026-11-23.

Residual sums, LayerNorm, GELU and softmax stay float: they are not linear layers and get no grid.
The output head and the two embedding layers keep float outputs (w8): int8 logits and embeddings
cost more than all other outputs together, and these layers see one row per call, so that rounding
their input as it comes costs nothing. The rows of location tokens need no more than the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgecap.quant.grid import Grid, short

HEAD = "token"
WIDE_OUTPUTS = (HEAD, "image_embedding", "text_embedding")

# Pixels reach the patches as (p - 127.5) / 127.5. On the grid from -1 to 1 each of them would lie
# half way between two numbers, and which one it takes would differ from kernel to kernel; on this
# grid none does.
INPUTS = {"patch": Grid(short(1 / 127), 0)}


def default_kind(layer: str, precision: str) -> str:
    """The kind of a layer where nothing else was asked for; `precision` is w8 or w8a8."""
    return "w8" if layer in WIDE_OUTPUTS else precision


def kinds(layers: Mapping[str, object], precision: str, keep: Mapping[str, str]) -> dict[str, str]:
    """The kind of every layer; `keep` names those that shall be wider, layer -> w8 or fp32."""
    return {name: keep.get(name, default_kind(name, precision)) for name in layers}
