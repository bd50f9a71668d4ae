"""How far an exported model may lie from PyTorch, by precision. The only place with these figures.

Rows are compared: logits and attention of one step, embeddings of one scene or text. `max_abs` is
the largest absolute difference anywhere, `cosine` the smallest cosine of any row.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecap.bundle.golden import Tolerance

# Pillow versions round a resized pixel differently by one level at most.
_CANVAS = Tolerance(max_abs=1, cosine=0.999)


@dataclass(frozen=True)
class Bounds:
    """What one precision must keep."""

    outputs: dict[str, Tolerance]
    next_token: float  # 0-1: steps along PyTorch's tokens whose best next token is the same
    scenes: float  # 0-1: scenes whose whole greedy caption, boxes included, is the same
    golden: float  # 0-1: the same, of the few golden cases


def _bounds(
    logits: Tolerance, embedding: Tolerance, attention: Tolerance, shares: tuple[float, ...]
) -> Bounds:
    outputs = {
        "logits": logits,
        "image_embedding": embedding,
        "text_embedding": embedding,
        "attention": attention,
        "canvas": _CANVAS,
    }
    return Bounds(outputs, *shares)


BOUNDS: dict[str, Bounds] = {
    "fp32": _bounds(
        Tolerance(5e-3, 0.999999),
        Tolerance(1e-4, 0.999999),
        Tolerance(1e-3, 0.99999),
        (1.0, 1.0, 1.0),
    ),
    "fp16": _bounds(
        Tolerance(0.25, 0.9999),
        Tolerance(5e-3, 0.9999),
        Tolerance(0.02, 0.999),
        (0.999, 0.95, 0.75),
    ),
    "w8": _bounds(
        Tolerance(5.0, 0.98),
        Tolerance(0.05, 0.99),
        Tolerance(0.25, 0.90),
        (0.99, 0.75, 0.5),
    ),
}
