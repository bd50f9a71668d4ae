"""Removes objects from an image, to measure their influence on the model's output.

Letters: S side of the model input in px.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.apps.fill import Area, local_fill_colour
from edgecap.runtime.mentions import InputBox

MARGIN = 4  # px around a box: one bin of the location tokens, their possible error
_RING = 4  # px around the margin, used as background


def hide(
    model_input: np.ndarray, hidden: Sequence[InputBox], kept: Sequence[InputBox]
) -> np.ndarray:
    """A copy of uint8 [S,S,3] with the boxes `hidden` filled with the colour around them.

    Pixels of `kept` boxes are not changed.
    """
    bare = model_input.copy()  # [S,S,3]
    for box in hidden:
        inner, outer = _area(model_input, box, MARGIN), _area(model_input, box, MARGIN + _RING)
        bare[inner] = local_fill_colour(model_input, inner, outer)
    for box in kept:
        area = _area(model_input, box, 0)
        bare[area] = model_input[area]
    return bare


def _area(model_input: np.ndarray, box: InputBox, margin: int) -> Area:
    S = model_input.shape[0]
    x0, y0, x1, y1 = (int(round(edge)) for edge in box)
    rows = slice(max(y0 - margin, 0), min(y1 + margin, S))
    return rows, slice(max(x0 - margin, 0), min(x1 + margin, S))
