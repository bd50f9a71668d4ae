"""Random sampling of the next token, reproducible on every machine and in every batch.

The model's scores are divided by the temperature, then restricted to the `top_k` most probable
tokens and to the fewest whose probabilities reach `top_p` (nucleus sampling: arXiv 1904.09751). A
random number u in [0, 1) selects one of them, in the order of their ids: the first at which the
cumulative probability exceeds u.

Random numbers come from SplitMix64 (Steele, Lea, Flood 2014), which takes five lines in any
language. Its state starts at seed * 2^32 + index, the index of the image in the call, counted from
0: the caption of an image does not depend on the batch, and two images of one call get different
random numbers. No pixel is part of it: decoders differ by a level, and would draw other words.

Letter: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.core.errors import InputError

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Sampling:
    """Sampling options; InputError for values out of range."""

    temperature: float = 1.0  # above 0: lower is closer to greedy
    top_k: int | None = None  # sample from this many tokens at most
    top_p: float | None = None  # sample from this share of the probability, 0 < top_p <= 1
    seed: int = 0  # 0 … 2^32 - 1
    index: int = 0  # of the first image of the call, 0 … 2^32 - 1: to repeat a later one alone

    def __post_init__(self) -> None:
        _check_range(
            "temperature", self.temperature, 0.01 <= self.temperature <= 100, "in 0.01 … 100"
        )
        _check_range("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "at least 1")
        _check_range(
            "top_p", self.top_p, self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1"
        )
        _check_range("seed", self.seed, 0 <= self.seed < 1 << 32, "in 0 … 4294967295")
        _check_range("index", self.index, 0 <= self.index < 1 << 32, "in 0 … 4294967295")


class Sampler:
    """Samples tokens for the sequences of one batch; see decode.Choose."""

    def __init__(self, sampling: Sampling, places: Sequence[int]) -> None:
        """`places`: of each sequence's image in the call, from 0; unreadable images count."""
        self._sampling = sampling
        self._starts = [start(sampling.seed, sampling.index + place) for place in places]

    def __call__(self, scores: np.ndarray, sequence: int, count: int) -> int:
        kept = probabilities(scores, self._sampling)  # [V]
        return draw(kept, uniform(self._starts[sequence], count))


def probabilities(scores: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution to sample from, float64 [V], of scores f32 [V], which may be -inf."""
    scaled = scores.astype(np.float64) / sampling.temperature  # [V]
    weights = np.exp(scaled - scaled.max())
    order = np.argsort(-scaled, kind="stable")[: sampling.top_k]  # ties: the lower id first
    if sampling.top_p is not None:
        reached = np.cumsum(weights[order]) / weights[order].sum()
        order = order[: int(np.searchsorted(reached, sampling.top_p)) + 1]
    kept = np.zeros_like(weights)
    kept[order] = weights[order]
    return kept / kept.sum()


def draw(chances: np.ndarray, u: float) -> int:
    """The first token at which the cumulative sum of float64 [V] exceeds u, 0 <= u < 1."""
    possible = np.flatnonzero(chances)
    place = int(np.searchsorted(np.cumsum(chances[possible]), u, side="right"))
    return int(possible[min(place, len(possible) - 1)])  # the sum may round to below 1


def start(seed: int, index: int) -> int:
    """Where the stream of a seed and the index of an image starts."""
    return (seed << 32) + (index & 0xFFFFFFFF)


def uniform(start: int, count: int) -> float:
    """Number `count` of the stream that starts at `start`: 0 <= u < 1, a multiple of 2^-53."""
    z = (start + (count + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)


def _check_range(name: str, value: float | int | None, fits: bool, allowed: str) -> None:
    if not fits:
        raise InputError(f"sampling.{name}", f"{name} must be {allowed}, got {value}.")
