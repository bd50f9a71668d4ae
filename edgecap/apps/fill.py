"""The fill colour for a removed part of an image: the colour around it, the least conspicuous.

Letters: S side of the model input in px.
"""

from __future__ import annotations

import numpy as np

Area = tuple[slice, slice]  # rows and columns, px


def local_fill_colour(model_input: np.ndarray, inner: Area, outer: Area) -> np.ndarray:
    """The median colour, uint8 [3], of uint8 [S,S,3] in `outer` but not in `inner`.

    If that ring is empty, the median colour of the whole model input.
    """
    ring = np.zeros(model_input.shape[:2], np.bool_)  # [S,S]
    ring[outer] = True
    ring[inner] = False
    pixels = model_input[ring] if ring.any() else model_input.reshape(-1, 3)
    return np.median(pixels, axis=0).astype(np.uint8)
