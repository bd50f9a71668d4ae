"""Bootstrap intervals of metrics over scenes (Efron 1979), with the same draws for all metrics.

n scenes, R resamples.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000


def draw_weights(n: int, seed: int = 0) -> np.ndarray:
    """How often each of `n` scenes is drawn in each resample, float64 [R,n]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)


def interval(resampled: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of resampled values float64 [R]; None where nothing was measured."""
    measured = resampled[~np.isnan(resampled)]
    if not len(measured):
        return None
    low, high = np.percentile(measured, [2.5, 97.5])
    return float(low), float(high)
