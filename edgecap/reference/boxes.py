"""Boxes as location tokens (Pix2Seq, arXiv 2109.10852, with 4 px bins).

A box is (x0, y0, x1, y1) in px of the 224 px model input; a bin is one of 57 edges 4 px apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgecap.reference.tokens import LOCATION_BINS

BIN_PX = 4


def to_bins(box: Sequence[float]) -> tuple[int, int, int, int]:
    """Indices of the nearest bin edges of a box, each in 0 … 56."""
    x0, y0, x1, y1 = (min(max(round(edge / BIN_PX), 0), LOCATION_BINS - 1) for edge in box)
    return x0, y0, x1, y1


def from_bins(bins: Sequence[int]) -> tuple[float, float, float, float]:
    """The box bounded by four edges, in px of the model input."""
    x0, y0, x1, y1 = (float(bin_ * BIN_PX) for bin_ in bins)
    return x0, y0, x1, y1
