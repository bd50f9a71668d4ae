"""`edgecap eval`: caption and embed scenes with ground truth, and score the results.

N scenes, R bootstrap resamples. Keys are those of `metrics` (captions) and `similarity`
(embeddings). Most figures have floors, the scores without information from the image:

    blind_KEY     captions: of a mid-grey image, the score of guessing; embeddings: chance
    shuffled_KEY  every image against the truth of another scene
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecap.benchmarks.reference.metrics import Tally, score_scene, tally
from edgecap.benchmarks.reference.similarity import (
    COMPARED,
    HARD,
    Gallery,
    Scened,
    Subject,
    compare,
    gallery,
)
from edgecap.core.choices import pick
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.parse import Parsed, parse
from edgecap.reference.scenes.resampling import draw_weights, interval

Value = float | int | None

FLOORED = (
    *("exact", "name", "grounding_50", "grounding_75"),
    *("relation", "count", "withheld", "chair_i"),
)
MEASURED = (*FLOORED[:4], "miou_named", *FLOORED[4:], "malformed", *COMPARED)
FLOORS = (
    *(f"blind_{key}" for key in (*FLOORED, *COMPARED)),
    *(f"shuffled_{key}" for key in (*FLOORED, *HARD)),
)
KEYS = (*MEASURED, *FLOORS)
PARTS = ("captions", "embeddings")  # parts that can be evaluated alone
MID_GREY = 127


@dataclass(frozen=True)
class Report:
    """Values per key and language, their mean over languages, and 95 % intervals of the mean."""

    n: int
    values: dict[str, Value]
    intervals: dict[str, tuple[float, float] | None]
    languages: dict[str, dict[str, Value]]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def worst_language(self) -> str | None:
        """The language that names the fewest scenes exactly; None where nothing was captioned."""
        if self.values["exact"] is None:
            return None
        return min(self.languages, key=lambda lang: self.languages[lang]["exact"] or 0.0)

    def to_json(self) -> dict[str, Any]:
        """The keys of `KEYS` and n at the top (mean over languages), then `about`."""
        return {
            "n": self.n,
            **self.values,
            "interval_95": {key: bounds and list(bounds) for key, bounds in self.intervals.items()},
            "languages": self.languages,
            "worst_language": self.worst_language,
            **self.about,
        }


def evaluate(
    captioner: Subject,
    scenes: Sequence[Scened],
    languages: Sequence[str],
    batch: int = 32,
    held_out_phrasing: bool = False,
    about: dict[str, Any] | None = None,
    only: str | None = None,
) -> Report:
    """Score a captioner on scenes in each language.

    `batch` images or texts go into one call of the captioner; with `held_out_phrasing` the texts
    to embed use phrasings that are not in training; `only` is one of PARTS, and keys of the other
    are then None. Needs two scenes or more, because some keys compare scenes; raises InputError
    otherwise.
    """
    if only is not None:
        pick("part", only, PARTS)
    if len(scenes) < 2:
        raise InputError("eval.too_few", f"{len(scenes)} scene cannot be compared; give 2 or more.")
    shown = None if only == "captions" else gallery(captioner, scenes, batch, held_out_phrasing)
    weights = draw_weights(len(scenes))  # [R,N], the same scenes are drawn for every language
    rows: dict[str, dict[str, Value]] = {}
    resampled: dict[str, list[np.ndarray]] = defaultdict(list)
    for lang in languages:
        sums, found = _evaluate_language(captioner, scenes, lang, shown, batch, only)
        rows[lang] = {key: found.get(key) for key in KEYS}
        for key, ratio in sums.items():
            resampled[key].append(ratio.resampled(weights))  # [R]
    bounds = {key: interval(np.mean(draws, 0)) for key, draws in resampled.items()}
    return Report(
        n=len(scenes),
        values={key: _over_languages(key, [row[key] for row in rows.values()]) for key in KEYS},
        intervals={key: bounds.get(key) for key in KEYS if key != "malformed"},
        languages=rows,
        about=about or {},
    )


def _over_languages(key: str, values: Sequence[Value]) -> Value:
    """The mean of what was measured; of malformed boxes, which are counted, the sum."""
    measured = [value for value in values if value is not None]
    if not measured:
        return None
    return int(sum(measured)) if key == "malformed" else sum(measured) / len(measured)


def _evaluate_language(
    captioner: Subject,
    scenes: Sequence[Scened],
    lang: str,
    shown: Gallery | None,
    batch: int,
    only: str | None,
) -> tuple[Tally, dict[str, Value]]:
    """What was measured, as sums over scenes and as figures."""
    sums: Tally = {}
    found: dict[str, Value] = {}
    if only != "embeddings":
        captions, found["malformed"] = _captions(captioner, scenes, lang, batch)
        sums |= captions
    if shown is not None:
        sums |= compare(captioner, lang, shown, batch)
    return sums, found | {key: ratio.value() for key, ratio in sums.items()}


def _captions(
    captioner: Subject, scenes: Sequence[Scened], lang: str, batch: int
) -> tuple[Tally, int]:
    """The keys of captions with their floors, and the malformed boxes."""
    images, graphs = [image for image, _ in scenes], [scene for _, scene in scenes]
    captions = []
    for start in progress(range(0, len(scenes), batch), f"{lang}: captions"):
        generated = captioner.caption(images[start : start + batch], lang=lang)
        captions += [parse(caption.raw, lang) for caption in generated]
    grey = np.full_like(images[0], MID_GREY)  # [224,224,3]
    guess = parse(captioner.caption([grey], lang=lang)[0].raw, lang)
    floors = {"blind": [guess] * len(graphs), "shuffled": captions[1:] + captions[:1]}
    scores = [score_scene(scene, one) for scene, one in zip(graphs, captions, strict=True)]
    sums = {
        f"{floor}_{key}": ratio
        for floor, others in floors.items()
        for key, ratio in _tallied(graphs, others).items()
        if key in FLOORED
    }
    return {**tally(scores), **sums}, sum(score.malformed for score in scores)


def _tallied(graphs: Sequence[Scene], captions: Sequence[Parsed]) -> Tally:
    """The sums of captions, each against the scene in its place."""
    return tally([score_scene(scene, one) for scene, one in zip(graphs, captions, strict=True)])
