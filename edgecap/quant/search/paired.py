"""How much a plan loses against fp32, from captions of the same images, and how sure that is.

Both caption the same images in the same languages, so only the captions on which they differ say
anything: `lost`, where fp32's scores more, and `won`, the reverse. The drop is the mean difference
of the scores; where they are right or wrong, that of lost and won over all captions.

Its 95 % interval is Wald's for paired shares with half a caption added to each of the four cells
(Agresti and Min 2005), so that it has a width where nothing differs. Captions of one image in
several languages share it and its rounding; the interval is widened by the design effect, the
variance of images' sums over what independent captions would have. With n captions of which a share
p differs, it reaches about 196·√(p / n) points to either side: 128 scenes in 8 languages of which
3 % differ resolve one point, not half of one.

Letters: N images, J languages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_Z = 1.96  # of a normal variable, 95 % of the time nearer to its mean


@dataclass(frozen=True)
class Drop:
    """Loss in points, hundredths of a score; negative where the plan does better."""

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
    """From the scores [N,J] of fp32's captions and those of the plan, bool where right or wrong."""
    loss = reference.astype(float) - got.astype(float)  # [N,J], above 0 where lost
    N, n = len(loss), loss.size
    lost, won = int((loss > 0).sum()), int((loss < 0).sum())
    adjusted, total = float(loss.sum()) / (n + 2), n + 2
    variance = (float((loss**2).sum() + 1) / total - adjusted**2) / total
    reach = _Z * float(np.sqrt(variance * _design_effect(loss)))
    low, high = (100 * (adjusted + side * reach) for side in (-1, 1))
    return Drop(N, n, lost, won, 100 * float(loss.mean()), low, high)


def _design_effect(loss: np.ndarray) -> float:
    """How much more the mean of loss [N,J] varies than that of independent captions; 1 or more."""
    N = len(loss)
    apart = loss - loss.mean()  # [N,J]
    alone = float((apart**2).sum())
    if alone == 0 or N < 2:
        return 1.0
    return max(1.0, float((apart.sum(1) ** 2).sum()) * N / (N - 1) / alone)
