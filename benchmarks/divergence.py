"""Where two captioners diverge: the KV cache by layer, which every format outputs.

PyTorch gives the hidden state after every layer, a bundle does not; both give the contract's cache.
Its rows of layer l are the keys and values that block l's qkv computes from the residual stream. So
an error that first appears in layer l comes from blocks.l.qkv or from what block l-1 added to the
stream (attention_out, mlp_in, mlp_out), for layer 0 from the patches or the token table. Errors of
the last block appear in the function's output, the stage after the last layer.

The error of a stage is relative: the root of |A - B|² over |A|², summed over all scenes. Values are
compared up to one factor per channel, the best one: an int8 export may have divided value channels
by a constant and multiplied it onto the layer that reads them (edgecap/quant/smooth.py), which
changes no output. Decode rows are those of teacher forcing, each side on its own cache.

Letters: L layers, B batch, H heads, R rows, Dh head width, C = H·Dh channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stage:
    """Error and cosine at one stage; 0 and 1 where A is all zero."""

    name: str  # "layer 0" … "layer L-1", then the function's output
    key_error: float  # relative
    key_cosine: float
    value_error: float | None  # relative, up to a factor per channel; None: an output has one array
    value_cosine: float | None

    @property
    def error(self) -> float:
        """The larger of both."""
        return max(self.key_error, self.value_error or 0.0)


@dataclass(frozen=True)
class Divergence:
    """One function, from its first layer to its output."""

    function: str
    stages: tuple[Stage, ...]
    threshold: float  # relative error from which on a stage counts as diverged

    @property
    def first(self) -> Stage | None:
        """The first stage whose error exceeds the threshold."""
        return next((stage for stage in self.stages if stage.error > self.threshold), None)

    @property
    def jump(self) -> Stage:
        """The stage whose error exceeds that of the stage before it by most."""
        errors = [0.0, *(stage.error for stage in self.stages)]
        rises = np.diff(errors)  # [L+1]
        return self.stages[int(rises.argmax())]

    def to_json(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "first_over_threshold": self.first and self.first.name,
            "largest_jump": self.jump.name,
            "stages": [vars(stage) | {"error": stage.error} for stage in self.stages],
        }


@dataclass
class Sums:
    """Running sums of two arrays, per group and channel: f64 [G,C], 0 before the first update."""

    aa: np.ndarray | float = 0.0
    ab: np.ndarray | float = 0.0
    bb: np.ndarray | float = 0.0
    apart: np.ndarray | float = 0.0  # of (a - b)²; aa - 2ab + bb would lose precision

    def update(self, a: np.ndarray, b: np.ndarray) -> None:
        """Two arrays [G,M,C]: groups, samples, channels."""
        a, b = a.astype(np.float64), b.astype(np.float64)
        self.aa += (a * a).sum(1)  # [G,C]
        self.ab += (a * b).sum(1)
        self.bb += (b * b).sum(1)
        self.apart += ((a - b) ** 2).sum(1)

    def plain(self) -> tuple[np.ndarray, np.ndarray]:
        """Relative error and cosine of each group, f64 [G] both."""
        aa, ab, bb = (np.sum(x, -1) for x in (self.aa, self.ab, self.bb))  # [G]
        error = np.sqrt(_share(np.sum(self.apart, -1), aa, 0.0))
        return error, _share(ab, np.sqrt(aa * bb), 1.0)

    def up_to_a_factor(self) -> tuple[np.ndarray, np.ndarray]:
        """The same after each channel of b was multiplied by its best factor, ab / bb."""
        aa, ab, bb = (np.asarray(x) for x in (self.aa, self.ab, self.bb))  # [G,C]
        kept = _share(ab**2, bb, 0.0).sum(-1)  # [G], energy of a that b explains
        same = np.asarray(self.apart).sum(-1) == 0  # [G]; exact, unlike the rounded sums
        lost = np.where(same, 0.0, (aa.sum(-1) - kept).clip(0))  # [G]
        return np.sqrt(_share(lost, aa.sum(-1), 0.0)), np.sqrt(_share(kept, aa.sum(-1), 1.0))


@dataclass
class CacheSums:
    """The running sums of one function over scenes."""

    keys: Sums = field(default_factory=Sums)
    values: Sums = field(default_factory=Sums)
    output: Sums = field(default_factory=Sums)

    def rows(self, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> None:
        """Keys and values [L,B,H,R,Dh] of A and of B."""
        for sums, mine, other in zip((self.keys, self.values), a, b, strict=True):
            sums.update(_channels(mine), _channels(other))

    def out(self, a: np.ndarray, b: np.ndarray) -> None:
        """The function's output [B,N] of A and of B."""
        self.output.update(a[None], b[None])

    def divergence(self, function: str, output: str, threshold: float) -> Divergence:
        """The finished table; `output` names the last stage."""
        columns = (*self.keys.plain(), *self.values.up_to_a_factor())  # four of [L]
        stages = [
            Stage(f"layer {layer}", *map(float, figures))
            for layer, figures in enumerate(zip(*columns, strict=True))
        ]
        error, cosine = self.output.plain()  # [1] both
        last = Stage(output, float(error[0]), float(cosine[0]), None, None)
        return Divergence(function, (*stages, last), threshold)


def _channels(rows: np.ndarray) -> np.ndarray:
    """Cache rows [L,B,H,R,Dh] as [L,B·R,C]."""
    L, B, H, R, Dh = rows.shape
    return rows.transpose(0, 1, 3, 2, 4).reshape(L, B * R, H * Dh)


def _share(over: np.ndarray, under: np.ndarray, empty: float) -> np.ndarray:
    """over / under, and `empty` where under is 0."""
    over, under = np.asarray(over, np.float64), np.asarray(under, np.float64)
    return np.divide(over, under, out=np.full_like(over, empty), where=under > 0)
