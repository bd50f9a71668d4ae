"""Enlarging images [...,H,W]."""

from __future__ import annotations

import numpy as np

from edgecap.mil.ops.limits import limited
from edgecap.mil.ops.registry import Registry

OPS = Registry()


@OPS(exact=True)
def upsample_nearest_neighbor(
    x: np.ndarray,
    scale_factor_height: np.ndarray | float = 1,
    scale_factor_width: np.ndarray | float = 1,
) -> np.ndarray:
    """Output row i is row floor(i / scale), by the scale of the rounded output size."""
    for axis, given in ((-2, scale_factor_height), (-1, scale_factor_width)):
        size = x.shape[axis]
        out = _enlarged(size, given)
        limited([x.size // size, out])
        x = np.take(x, np.arange(out) * size // out, axis)
    return x


@OPS()
def upsample_bilinear(
    x: np.ndarray,
    scale_factor_height: np.ndarray | float = 1,
    scale_factor_width: np.ndarray | float = 1,
    align_corners: np.ndarray | bool = True,
    half_pixel_centers: np.ndarray | bool | None = None,
) -> np.ndarray:
    """The scale is recomputed from the rounded output size, as MIL defines."""
    half = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    for axis, given in ((-2, scale_factor_height), (-1, scale_factor_width)):
        size = x.shape[axis]
        out = _enlarged(size, given)
        limited([x.size // size, out])
        places = _places(size, out, bool(align_corners), half)
        low = places.astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        weight = (places - low).astype(x.dtype)
        if axis == -2:
            weight = weight[:, None]
        first = np.take(x, low, axis)
        x = first + (np.take(x, high, axis) - first) * weight
    return x


def _enlarged(size: int, scale: np.ndarray | float) -> int:
    """The output size, multiplied in float32 as converters declare it."""
    return int(np.floor(np.float32(size) * np.float32(scale)))


def _places(size: int, out: int, align_corners: bool, half: bool) -> np.ndarray:
    """The input coordinate of each of `out` elements, in [0, size - 1]."""
    index = np.arange(out, dtype=np.float64)
    if align_corners:
        places = index * ((size - 1) / max(out - 1, 1))
    else:
        places = (index + 0.5) * (size / out) - 0.5 if half else index * (size / out)
    return np.clip(places, 0, size - 1)
