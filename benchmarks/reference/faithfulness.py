"""Faithfulness of word maps, measured on scenes with ground truth.

For every phrase of a caption that names a thing that is unique in the scene:

    pointing         phrases whose map is highest on the thing (Zhang et al., arXiv 1608.00507): the
                     centre of that patch lies in its true box or half a patch beside it
    pointing_chance  the share of patches for which that holds: the score of a random map
    deletion         mean probability of the phrase while the patches are hidden in the order of
                     the map; low is good (RISE, arXiv 1806.07421)
    deletion_random  the same in random order
    insertion        the same while patches are revealed in that order; high is good
    insertion_random the same in random order
    random_weights   rank correlation of a word's map with that of a model of random weights; near 0
                     is good: otherwise the map does not depend on training
                     (arXiv 1810.03292)

The probability of a phrase is the geometric mean over its tokens, given the caption before them.
Hidden patches have the median colour of the image. `*_gain` is the improvement of a map
over chance on the same phrases. Intervals are 95 %, bootstrapped over scenes.

N scenes, P patches, G patches along one side, t tokens, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgecap.apps.explain import CaptionTrace, trace_caption
from edgecap.apps.explain.maps import grid_of
from edgecap.apps.explain.occlusion import forced_scores
from edgecap.benchmarks.reference.clear_phrases import Phrase, clear_phrases, near
from edgecap.benchmarks.reference.metrics import Ratio
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.resampling import draw_weights, interval
from edgecap.runtime import Captioner

STEPS = 8  # K: parts of the image, hidden one after another
KEYS = (
    "pointing",
    "pointing_chance",
    "deletion",
    "deletion_random",
    "insertion",
    "insertion_random",
    "random_weights",
)
# The values of a faithful map.
GOOD = {
    "pointing": "high",
    "deletion": "low",
    "insertion": "high",
    "random_weights": "near 0",
    "pointing_gain": "above 0",
    "deletion_gain": "above 0",
    "insertion_gain": "above 0",
}
SURVIVES = 0.5  # rank correlation above which a map mostly does not depend on training
# Gain -> the minuend and the subtrahend.
GAINS = {
    "pointing_gain": ("pointing", "pointing_chance"),
    "deletion_gain": ("deletion_random", "deletion"),
    "insertion_gain": ("insertion", "insertion_random"),
}
# From a caption to maps of its tokens, f32 [t,G,G].
Maker = Callable[[CaptionTrace], np.ndarray]


@dataclass(frozen=True)
class Row:
    """The figures of one kind of map; None where nothing was measured."""

    maps: str
    phrases: int
    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]

    @property
    def verdict(self) -> str:
        """The conclusion from the figures."""
        least = {key: (bounds or (0.0, 0.0))[0] for key, bounds in self.intervals.items()}
        points = least["pointing_gain"] > 0
        causes = least["deletion_gain"] > 0 and least["insertion_gain"] > 0
        where = "points at the object" if points else "points at the object no better than chance"
        chance = "" if causes else ", no better than chance"
        text = f"{where}; shows what the word depends on{chance}"
        survives = least["random_weights"] > SURVIVES
        return text + ("; stays similar with random weights" if survives else "")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def card(
    captioner: Captioner,
    scenes: Sequence[tuple[np.ndarray, Scene]],
    makers: Mapping[str, Maker],
    with_random_weights: Mapping[str, Maker] | None = None,
    lang: str = "en",
) -> list[Row]:
    """Measure each kind of maps; `with_random_weights` makes the same kinds with a model of random
    weights.

    Raises InputError where no caption names a thing that can be identified.
    """
    sums: dict[str, dict[str, np.ndarray]] = {
        kind: {key: np.zeros((2, len(scenes))) for key in KEYS} for kind in makers
    }
    phrases = 0
    for n, (image, scene) in enumerate(progress(scenes, "scenes")):
        trace = trace_caption(captioner, image, lang)
        found = list(clear_phrases(trace, scene, lang, captioner.tokenizer))
        phrases += len(found)
        if not found:
            continue
        rng = np.random.default_rng(n)
        chance = [_areas(captioner, trace, phrase, None, rng) for phrase in found]
        for kind, make in makers.items():
            maps = make(trace)  # [t,G,G]
            other = (
                with_random_weights[kind](trace)
                if with_random_weights and kind in with_random_weights
                else None
            )
            for phrase, random in zip(found, chance, strict=True):
                own = maps[phrase.start : phrase.end].mean(0)  # [G,G]
                on_it = near(phrase.box, trace.model_input.shape[0], own.shape[0])  # [G,G]
                deletion, insertion = _areas(captioner, trace, phrase, own, rng)
                measured = {
                    "pointing": float(on_it.flat[own.argmax()]),
                    "pointing_chance": float(on_it.mean()),
                    "deletion": deletion,
                    "insertion": insertion,
                    "deletion_random": random[0],
                    "insertion_random": random[1],
                }
                if other is not None:
                    fresh = other[phrase.start : phrase.end].mean(0)
                    measured["random_weights"] = _rank_correlation(own, fresh)
                for key, value in measured.items():
                    sums[kind][key][:, n] += (value, 1)
    if not phrases:
        raise InputError(
            "faithfulness.nothing",
            f"in {len(scenes)} scenes no caption names a thing that can be identified.",
            "Give more scenes, or better weights.",
        )
    return [_row(kind, phrases, found) for kind, found in sums.items()]


def _areas(
    captioner: Captioner,
    trace: CaptionTrace,
    phrase: Phrase,
    map_: np.ndarray | None,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Deletion and insertion of one phrase in the order of a map [G,G], or in random order."""
    G = grid_of(captioner)
    values = rng.random(G * G) if map_ is None else map_.ravel()
    order = np.argsort(-values, kind="stable")  # [P]
    hidden = np.broadcast_to(np.median(trace.model_input, axis=(0, 1)), trace.model_input.shape)
    counts = np.linspace(0, G * G, STEPS + 1).round().astype(int)
    model_inputs = []
    for first, then in ((trace.model_input, hidden), (hidden, trace.model_input)):
        for count in counts:
            changed = np.zeros(G * G, np.bool_)  # [P]
            changed[order[:count]] = True
            patch = trace.model_input.shape[0] // G
            mask = changed.reshape(G, G).repeat(patch, 0).repeat(patch, 1)[..., None]  # [S,S,1]
            model_inputs.append(np.where(mask, then, first).astype(np.uint8))
    tokens = trace.tokens[: phrase.end]
    scores = forced_scores(captioner, model_inputs, trace.prompt, tokens)
    chances = np.array([np.exp(one[phrase.start :].mean()) for one in scores])  # [2(K+1)]
    deleted, inserted = chances.reshape(2, -1)  # each [K+1]
    return _area(deleted), _area(inserted)


def _area(curve: np.ndarray) -> float:
    """Under a curve [K+1] over 0 … 1."""
    return float((curve[:-1] + curve[1:]).mean() / 2)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; 0 where one of them is flat."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Float [P]; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]


def _row(kind: str, phrases: int, sums: Mapping[str, np.ndarray]) -> Row:
    weights = draw_weights(next(iter(sums.values())).shape[1])  # [R,N]
    ratios = {key: Ratio(*found) for key, found in sums.items()}
    for gain, (better, worse) in GAINS.items():
        ratios[gain] = Ratio(ratios[better].over - ratios[worse].over, ratios[better].under)
    return Row(
        kind,
        phrases,
        {key: ratio.value() for key, ratio in ratios.items()},
        {
            key: interval(ratio.resampled(weights)) if ratio.under.any() else None
            for key, ratio in ratios.items()
        },
    )
