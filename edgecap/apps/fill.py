"""What to put where a part of a picture is taken out: the colour around it, which adds least.

Letters: S canvas side in px.
"""

from __future__ import annotations

import numpy as np

Area = tuple[slice, slice]  # rows and columns, px


def surrounding(canvas: np.ndarray, inner: Area, outer: Area) -> np.ndarray:
    """The median colour, uint8 [3], of uint8 [S,S,3] in `outer` and not in `inner`.

    Of the whole canvas where nothing is left of the ring.
    """
    ring = np.zeros(canvas.shape[:2], np.bool_)  # [S,S]
    ring[outer] = True
    ring[inner] = False
    pixels = canvas[ring] if ring.any() else canvas.reshape(-1, 3)
    return np.median(pixels, axis=0).astype(np.uint8)
