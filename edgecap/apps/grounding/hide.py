"""Taking things out of an image: what the model then says tells what it had said because of them.

Letters: S model_input side in px.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.apps.fill import Area, local_fill_colour
from edgecap.runtime.mentions import InputBox

MARGIN = 4  # px beyond a box: one step of the location tokens, which may be off by as much
_RING = 4  # px around the margin, taken for the background


def hide(
    model_input: np.ndarray, hidden: Sequence[InputBox], kept: Sequence[InputBox]
) -> np.ndarray:
    """A copy of uint8 [S,S,3] with the boxes `hidden` filled with what surrounds them.

    Pixels of `kept` boxes stay as they are, where the two overlap.
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
