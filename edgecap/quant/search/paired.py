"""How much a plan loses against fp32, from captions of the same scenes, and how sure that is.

Both caption the same scenes in the same languages, so only the captions on which they differ say
anything: `lost`, where fp32 is exact and the plan is not, and `won`, the reverse. The drop is their
difference over all captions.

Its 95 % interval is Wald's for paired shares with half a caption added to each of the four cells
(Agresti and Min 2005), so that it has a width where nothing differs. Captions of one scene in
several languages share the image and its rounding; the interval is widened by the design effect,
the variance of scenes' sums over what independent captions would have. With n captions of which a
share p differs, it reaches about 196·√(p / n) points to either side: 128 scenes in 8 languages of
which 3 % differ resolve one point, not half of one.

Letters: N scenes, J languages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_Z = 1.96  # of a normal variable, 95 % of the time nearer to its mean


@dataclass(frozen=True)
class Drop:
    """Loss of exact captions in percentage points; negative where the plan does better."""

    scenes: int  # N
    captions: int  # N·J
    lost: int
    won: int
    points: float
    low: float  # of the 95 % interval
    high: float

    def __str__(self) -> str:
        return f"{self.points:+.2f} points (95 % {self.low:+.2f} … {self.high:+.2f})"


def drop(reference: np.ndarray, got: np.ndarray) -> Drop:
    """From which captions are exact, bool [N,J]: those of fp32 and those of the plan."""
    loss = reference.astype(float) - got.astype(float)  # [N,J], 1 lost, -1 won
    N, n = len(loss), loss.size
    lost, won = int((loss > 0).sum()), int((loss < 0).sum())
    adjusted, total = (lost - won) / (n + 2), n + 2
    variance = ((lost + won + 1) / total - adjusted**2) / total
    reach = _Z * float(np.sqrt(variance * _design_effect(loss)))
    low, high = (100 * (adjusted + side * reach) for side in (-1, 1))
    return Drop(N, n, lost, won, 100 * (lost - won) / n, low, high)


def _design_effect(loss: np.ndarray) -> float:
    """How much more the mean of loss [N,J] varies than that of independent captions; 1 or more."""
    N = len(loss)
    apart = loss - loss.mean()  # [N,J]
    alone = float((apart**2).sum())
    if alone == 0 or N < 2:
        return 1.0
    return max(1.0, float((apart.sum(1) ** 2).sum()) * N / (N - 1) / alone)
