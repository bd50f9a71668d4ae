"""What to put where a part of an image is taken out: the colour around it, which adds least.

Letters: S model_input side in px.
"""

from __future__ import annotations

import numpy as np

Area = tuple[slice, slice]  # rows and columns, px


def local_fill_colour(model_input: np.ndarray, inner: Area, outer: Area) -> np.ndarray:
    """The median colour, uint8 [3], of uint8 [S,S,3] in `outer` and not in `inner`.

    Of the whole model_input where nothing is left of the ring.
    """
    ring = np.zeros(model_input.shape[:2], np.bool_)  # [S,S]
    ring[outer] = True
    ring[inner] = False
    pixels = model_input[ring] if ring.any() else model_input.reshape(-1, 3)
    return np.median(pixels, axis=0).astype(np.uint8)
