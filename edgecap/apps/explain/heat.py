"""Draws a map over its image.

Letters: G patches along one side of the model input, S its side in px; h, w the drawn image.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgecap.runtime.preprocess import Letterbox

# Colour map: (share of the map's maximum, red, green, blue, opacity), with increasing lightness, so
# that it is readable without colour vision (after matplotlib's inferno).
STOPS = (
    (0.0, 40, 11, 84, 0.0),
    (0.3, 120, 28, 109, 0.45),
    (0.55, 205, 66, 71, 0.65),
    (0.8, 251, 155, 6, 0.75),
    (1.0, 252, 255, 164, 0.8),
)
GREYNESS = 0.8  # 0-1, desaturation of the image


def levels(maps: np.ndarray) -> np.ndarray:
    """Maps f32 [...,G,G] as uint8, each scaled by its own maximum; negative values become 0."""
    shown = np.maximum(maps, 0)
    most = shown.max((-2, -1), keepdims=True)  # [...,1,1]
    scaled = np.divide(shown, most, out=np.zeros_like(shown), where=most > 0)
    return np.rint(255 * scaled).astype(np.uint8)


def heat(image: Image.Image, level: np.ndarray, placement: Letterbox, size: int) -> Image.Image:
    """The image, RGB of any size, under a map uint8 [G,G] of a model_input of `size` px."""
    smooth = Image.fromarray(level).resize((size, size), Image.Resampling.BICUBIC)
    left, top = placement.left, placement.top
    part = smooth.crop((left, top, left + placement.scaled_width, top + placement.scaled_height))
    shares = np.asarray(part.resize(image.size, Image.Resampling.BILINEAR)) / 255  # [h,w]
    stops = np.array(STOPS)  # [5,5]
    ramp = [np.interp(shares, stops[:, 0], stops[:, i]) for i in range(1, 5)]  # each [h,w]
    colour, opacity = np.stack(ramp[:3], -1), ramp[3][..., None]  # [h,w,3], [h,w,1]
    own = np.asarray(image, np.float64)  # [h,w,3]
    grey = np.asarray(image.convert("L"), np.float64)[..., None]  # [h,w,1]
    ground = GREYNESS * grey + (1 - GREYNESS) * own
    return Image.fromarray(np.rint(ground * (1 - opacity) + colour * opacity).astype(np.uint8))
