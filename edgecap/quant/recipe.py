"""Which layers stay wider, and why. Figures: benchmarks/LOG.md, 2026-11-23 and -25.

Residual sums, LayerNorm, GELU and softmax stay float: they are not linear layers and get no grid.
The output head and the two embedding layers keep float outputs (w8): int8 logits and embeddings
cost more than all other outputs together, and these layers see one row per call, so that rounding
their input as it comes costs nothing. Patches keep float outputs too: int8 ones were the largest
error of the first layers (5 % of the keys, where int8 weights alone cost 0.4 %). The rows of
location tokens need no more than the others.
"""

from __future__ import annotations

from collections.abc import Mapping

HEAD = "token"
WIDE_OUTPUTS = (HEAD, "patch", "image_embedding", "text_embedding")


def default_kind(layer: str, precision: str) -> str:
    """The kind of a layer where nothing else was asked for; `precision` is w8 or w8a8."""
    return "w8" if layer in WIDE_OUTPUTS else precision


def kinds(layers: Mapping[str, object], precision: str, keep: Mapping[str, str]) -> dict[str, str]:
    """The kind of every layer; `keep` names those that shall be wider, layer -> w8 or fp32."""
    return {name: keep.get(name, default_kind(name, precision)) for name in layers}
