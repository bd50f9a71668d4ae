"""The int8 numbers that a tensor of reals is rounded to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LOW, HIGH = -128, 127  # of an int8
_LEAST = 1e-6  # width of a range: a tensor that is always 0 needs a scale too


@dataclass(frozen=True)
class QuantParams:
    """A real x is stored as the int8 nearest to x / scale + zero_point."""

    scale: float
    zero_point: int  # LOW … HIGH


def short(scale: float) -> float:
    """The scale or a little more, in the eleven bits of float16, which is what CoreML computes in.

    Every runtime then rounds to the very same grid.
    """
    mantissa, exponent = math.frexp(scale)
    return math.ldexp(math.ceil(mantissa * 2**11), exponent - 11)


def span(low: float, high: float) -> QuantParams:
    """The grid from low to high, widened so that 0 lies on it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = short(max(high - low, _LEAST) / (HIGH - LOW))
    return QuantParams(scale, int(np.clip(np.rint(LOW - low / scale), LOW, HIGH)))
