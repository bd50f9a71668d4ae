"""Taking things out of a picture: what the model then says tells what it had said because of them.

Letters: S canvas side in px.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.apps.fill import Area, surrounding
from edgecap.runtime.mentions import CanvasBox

MARGIN = 4  # px beyond a box: one step of the location tokens, which may be off by as much
_RING = 4  # px around the margin, taken for the background


def hide(canvas: np.ndarray, hidden: Sequence[CanvasBox], kept: Sequence[CanvasBox]) -> np.ndarray:
    """A copy of uint8 [S,S,3] with the boxes `hidden` filled with what surrounds them.

    Pixels of `kept` boxes stay as they are, where the two overlap.
    """
    bare = canvas.copy()  # [S,S,3]
    for box in hidden:
        inner, outer = _area(canvas, box, MARGIN), _area(canvas, box, MARGIN + _RING)
        bare[inner] = surrounding(canvas, inner, outer)
    for box in kept:
        area = _area(canvas, box, 0)
        bare[area] = canvas[area]
    return bare


def _area(canvas: np.ndarray, box: CanvasBox, margin: int) -> Area:
    S = canvas.shape[0]
    x0, y0, x1, y1 = (int(round(edge)) for edge in box)
    rows = slice(max(y0 - margin, 0), min(y1 + margin, S))
    return rows, slice(max(x0 - margin, 0), min(x1 + margin, S))
