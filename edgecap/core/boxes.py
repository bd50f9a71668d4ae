"""Boxes as location tokens (Pix2Seq, arXiv 2109.10852, with 4 px bins).

A box is (x0, y0, x1, y1) in px of the 224 px canvas; a bin is one of 57 edges 4 px apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgecap.core.tokens import LOCATION_BINS

BIN_PX = 4


def to_bins(box: Sequence[float]) -> tuple[int, int, int, int]:
    """Nearest edges of a box, in 0 … 56."""
    x0, y0, x1, y1 = (min(max(round(edge / BIN_PX), 0), LOCATION_BINS - 1) for edge in box)
    return x0, y0, x1, y1


def from_bins(bins: Sequence[int]) -> tuple[float, float, float, float]:
    """The box that four edges bound, in px of the canvas."""
    x0, y0, x1, y1 = (float(bin_ * BIN_PX) for bin_ in bins)
    return x0, y0, x1, y1


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes; 0 where either is empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
