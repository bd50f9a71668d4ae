"""Boxes as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from edgecap.runtime.preprocess import Box


def edges(box: Box) -> str:
    """x0 y0 x1 y1 in whole px."""
    return " ".join(f"{edge:.0f}" for edge in box)


def where(boxes: Sequence[Box]) -> str:
    """Of a thing in an image; without boxes, of the whole."""
    return " ".join(f"[{edges(box)}]" for box in boxes) or "whole image"
