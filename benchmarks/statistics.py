"""Medians with bootstrap intervals, and verdicts that may be "undecided".

R rounds; N resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
SEED = 0


class Verdict(Enum):
    """Where a quantity lies, as far as its interval shows."""

    ABOVE = "above"
    BELOW = "below"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Interval:
    """A median with the interval that holds it with probability `LEVEL`."""

    value: float
    low: float
    high: float

    def against(self, limit: float) -> Verdict:
        """ABOVE or BELOW the limit only where the whole interval is."""
        if self.low > limit:
            return Verdict.ABOVE
        return Verdict.BELOW if self.high < limit else Verdict.UNDECIDED

    @property
    def width(self) -> float:
        """Relative to the value."""
        return (self.high - self.low) / self.value if self.value else float("inf")


def median_interval(values: Sequence[float]) -> Interval:
    """The median of R values and its percentile bootstrap interval; the same on every call.

    With fewer than three values nothing is known about their spread: the interval is unbounded.

    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values")
    middle = float(np.median(values))
    if len(values) < 3:
        return Interval(middle, 0.0, float("inf"))
    medians = _resampled_medians(values, SEED)  # [N]
    return Interval(middle, *_bounds(medians))


def quotient_interval(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """The quotient of two medians of independent samples, each resampled by itself."""
    value = float(np.median(numerator)) / float(np.median(denominator))
    if min(len(numerator), len(denominator)) < 3:
        return Interval(value, 0.0, float("inf"))
    above = _resampled_medians(numerator, SEED)  # [N]
    below = _resampled_medians(denominator, SEED + 1)  # [N]
    return Interval(value, *_bounds(above / below))


def _resampled_medians(values: Sequence[float], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(values), (RESAMPLES, len(values)))  # [N,R]
    return np.median(np.asarray(values, float)[drawn], axis=1)  # [N]


def _bounds(samples: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(samples, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
