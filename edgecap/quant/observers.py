"""From the values a tensor took to the grid that rounds them.

    minmax      every observed value lies on the grid
    percentile  all but the outermost 1e-4 of the values on either side
    mse         the range of the least squared error

A first pass finds the ends of the range, a second counts the values between them.

Letter: C ranges that are tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from edgecap.quant.params import HIGH, LOW, QuantParams, span

BINS = 2048
OUTSIDE = 1e-4  # share of the values that `percentile` gives up on either side
_SHRINK = np.linspace(1.0, 0.3, 29)  # shares of the range that `mse` tries


@dataclass
class Extremes:
    """The ends of a range that holds 0."""

    low: float = 0.0
    high: float = 0.0

    def update(self, values: Tensor) -> None:
        low, high = values.aminmax()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))


@dataclass
class Histogram:
    """Values counted in equal bins from low to high."""

    low: float
    high: float
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS))

    def update(self, values: Tensor) -> None:
        self.counts += torch.histc(values.flatten().float(), BINS, self.low, self.high).numpy()

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin, f64 [BINS]."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        return (edges[1:] + edges[:-1]) / 2


def minmax(histogram: Histogram) -> QuantParams:
    return span(histogram.low, histogram.high)


def percentile(histogram: Histogram) -> QuantParams:
    share = histogram.counts.cumsum() / max(histogram.counts.sum(), 1)  # [BINS]
    inside = np.flatnonzero((share > OUTSIDE) & (share <= 1 - OUTSIDE))
    if not len(inside):
        return minmax(histogram)
    width = (histogram.high - histogram.low) / BINS
    return span(histogram.low + width * inside[0], histogram.low + width * (inside[-1] + 1))


def mse(histogram: Histogram) -> QuantParams:
    tried = {span(histogram.low * a, histogram.high * b) for a in _SHRINK for b in (a, 1.0)}
    tried |= {span(histogram.low, histogram.high * b) for b in _SHRINK}
    order = sorted(tried, key=lambda g: (g.scale, g.zero_point))
    scale = np.array([[grid.scale] for grid in order])  # [C,1]
    zero = np.array([[grid.zero_point] for grid in order])  # [C,1]
    x = histogram.centres  # [BINS]
    steps = np.clip(np.rint(x / scale), LOW - zero, HIGH - zero)  # [C,BINS]
    squared = (steps * scale - x) ** 2  # [C,BINS]
    return order[int((squared * histogram.counts).sum(1).argmin())]


OBSERVERS: dict[str, Callable[[Histogram], QuantParams]] = {
    "minmax": minmax,
    "percentile": percentile,
    "mse": mse,
}
