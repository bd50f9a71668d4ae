"""Pillow's 8-bit resize in plain NumPy: what a port to another language must compute.

A copy of the arithmetic of Pillow's Resample.c (and of its affine transform for NEAREST), one pass
at a time, columns first. Everything but the coefficients is whole numbers.

Letters: n samples in, m samples out along one side.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

BITS = 22  # 32 less 8 of a value and 2 for overshoot


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


def _box(x: float) -> float:
    return float(-0.5 < x <= 0.5)


def _bilinear(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _hamming(x: float) -> float:
    x = abs(x)
    return _sinc(x) * (0.54 + 0.46 * math.cos(math.pi * x)) if x < 1 else 0.0


def _bicubic(x: float) -> float:
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    # name: (weight at a distance in samples, support: distance beyond which it is 0)
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def resize(pixels: np.ndarray, height: int, width: int, filter: str) -> np.ndarray:
    """uint8 [h,w,3] to uint8 [height,width,3]."""
    h, w = pixels.shape[:2]
    if w != width:
        pixels = _pass(pixels.transpose(1, 0, 2), width, filter).transpose(1, 0, 2)
    return pixels if h == height else _pass(pixels, height, filter)


def _pass(samples: np.ndarray, m: int, filter: str) -> np.ndarray:
    """Resample the first axis: uint8 [n,…] to uint8 [m,…]."""
    if filter == "nearest":
        return samples[_nearest(len(samples), m)]
    out = np.empty((m, *samples.shape[1:]), np.uint8)
    for i, (start, weights) in enumerate(coefficients(len(samples), m, filter)):
        window = samples[start : start + len(weights)].astype(np.int64)
        total = (1 << (BITS - 1)) + np.tensordot(weights, window, 1)
        out[i] = np.clip(total >> BITS, 0, 255)
    return out


def coefficients(n: int, m: int, filter: str) -> list[tuple[int, np.ndarray]]:
    """For each sample out, the first sample in and the whole-numbered weights from there on."""
    weight, support = FILTERS[filter]
    scale = n / m
    stretch = max(scale, 1.0)  # shrinking widens the filter: that antialiases
    support *= stretch
    found = []
    for i in range(m):
        centre = (i + 0.5) * scale
        start = max(int(centre - support + 0.5), 0)
        end = min(int(centre + support + 0.5), n)
        exact = [weight((k - centre + 0.5) * (1 / stretch)) for k in range(start, end)]
        total = 0.0
        for value in exact:  # in this order: the sum of floats depends on it
            total += value
        exact = [value / total if total else value for value in exact]
        whole = [int(v * (1 << BITS) + (0.5 if v >= 0 else -0.5)) for v in exact]
        found.append((start, np.array(whole, np.int64)))
    return found


def _nearest(n: int, m: int) -> list[int]:
    scale = n / m
    place, places = scale * 0.5, []
    for _ in range(m):
        places.append(min(int(place), n - 1))
        place += scale  # added up, not multiplied: the rounding is part of it
    return places
