"""Arms against each other, seed by seed.

Two arms with the same seed saw the same images, so their difference is taken before it is
averaged. Intervals are Student's, 95 %; with three seeds they are 4.3 standard errors wide to
each side, and small effects stay undecided.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgecap.benchmarks.reference.ablations.experiment import Ablation, Row

# 97.5 % quantiles of Student's t for 1 … 10 degrees of freedom; more are as good as 10 here.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Difference:
    """The mean over seeds of one arm minus another, in one metric."""

    of: str
    minus: str
    key: str
    seeds: int
    mean: float
    half: float | None  # of the 95 % interval; None for a single seed

    @property
    def decided(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.half is not None and abs(self.mean) > self.half


def values(rows: Sequence[Row], arm: str, key: str) -> dict[int, float]:
    """A metric of an arm by seed, where it was measured."""
    found = {row["seed"]: row["metrics"][key] for row in rows if row["arm"] == arm}
    return {seed: value for seed, value in found.items() if value is not None}


def difference(rows: Sequence[Row], of: str, minus: str, key: str) -> Difference | None:
    """Over the seeds that both arms have; None where there is none."""
    a, b = values(rows, of, key), values(rows, minus, key)
    pairs = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if not pairs:
        return None
    half = None
    if len(pairs) > 1:
        quantile = _T[min(len(pairs) - 1, len(_T)) - 1]
        half = quantile * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return Difference(of, minus, key, len(pairs), statistics.fmean(pairs), half)


def differences(ablation: Ablation, rows: Sequence[Row]) -> list[Difference]:
    """Every contrast in every metric that was measured."""
    every = (
        difference(rows, of, minus, key)
        for of, minus in ablation.contrasts
        for key in ablation.keys
    )
    return [one for one in every if one is not None]
