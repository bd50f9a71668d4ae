"""`edgecap eval`: caption and embed scenes whose truth is known, and score what comes out.

N scenes, E embedding width, Q texts. To the keys of `metrics` this adds those that compare:

    retrieval_r1_i2t  scenes whose best-scoring text, among those of all N scenes, is true of them
    retrieval_r1_t2i  texts whose best-scoring scene, among all N, they are true of
    hard_negative     among scenes whose text has a false twin (see `scenes.twins`), those whose
                      true text scores above every twin
    blind_exact       `exact` of the caption of a mid-grey picture: what guessing alone is worth
    shuffled_exact    `exact` of every caption against another scene: what chance is worth

The text of a scene is its plain caption. It is true of a scene that has exactly the things it
names and in which its relation, if it states one, holds; identical statements are thus positives
of each other. A score is the cosine of the two embeddings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from edgecap.benchmarks.metrics import (
    Ratio,
    Tally,
    draw_weights,
    interval,
    score_scene,
    tally,
)
from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.scenes.describe import statement
from edgecap.scenes.grammar import for_language
from edgecap.scenes.graph import Scene, Statement
from edgecap.scenes.parse import parse
from edgecap.scenes.twins import is_true, names_of, twins

Pictured = tuple[np.ndarray, Scene]  # uint8 [224,224,3] and what it shows
Value = float | int | None

KEYS = (
    "exact",
    "name",
    "grounding_50",
    "grounding_75",
    "miou_named",
    "relation",
    "count",
    "chair_i",
    "malformed",
    "retrieval_r1_i2t",
    "retrieval_r1_t2i",
    "hard_negative",
    "blind_exact",
    "shuffled_exact",
)
MID_GREY = 127


class RawCaption(Protocol):
    """A caption with its location tokens still in it."""

    @property
    def raw(self) -> str: ...


class Subject(Protocol):
    """What is evaluated: a captioner of `edgecap.runtime`, or anything that answers like one."""

    def caption(self, images: Sequence[Any], lang: str) -> Sequence[RawCaption]: ...

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        """Float [N,E], norm 1."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Float [Q,E], norm 1."""


@dataclass(frozen=True)
class Report:
    """Values per key and language, their mean over languages, and 95 % intervals of the mean."""

    n: int
    values: dict[str, Value]
    intervals: dict[str, tuple[float, float] | None]
    languages: dict[str, dict[str, Value]]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def worst_language(self) -> str:
        """The language that names the fewest scenes exactly."""
        return min(self.languages, key=lambda lang: self.languages[lang]["exact"] or 0.0)

    def to_json(self) -> dict[str, Any]:
        """The keys of `KEYS` and n at the top (mean over languages), then where they come from."""
        return {
            "n": self.n,
            **self.values,
            "interval_95": {key: bounds and list(bounds) for key, bounds in self.intervals.items()},
            "languages": self.languages,
            "worst_language": self.worst_language,
            **self.about,
        }


@dataclass(frozen=True)
class _Gallery:
    """What the comparing keys need and no language changes."""

    statements: list[Statement]  # N
    twins: list[list[Statement]]  # N
    positive: np.ndarray  # bool [N,N]: text of the column is true of the scene of the row
    embeddings: np.ndarray  # float [N,E], of the pictures
    held_out_phrasing: bool


def evaluate(
    captioner: Subject,
    scenes: Sequence[Pictured],
    languages: Sequence[str],
    batch: int = 32,
    held_out_phrasing: bool = False,
    about: dict[str, Any] | None = None,
) -> Report:
    """Score a captioner on scenes in each language.

    `batch` pictures or texts go into one call of the captioner; `held_out_phrasing` words the texts
    to embed as no text of the training was. Needs two scenes or more, because
    some keys compare scenes; raises InputError otherwise.
    """
    if len(scenes) < 2:
        raise InputError("eval.too_few", f"{len(scenes)} scene cannot be compared; give 2 or more.")
    gallery = _gallery(captioner, scenes, batch, held_out_phrasing)
    weights = draw_weights(len(scenes))  # [R,N], the same scenes are drawn for every language
    rows: dict[str, dict[str, Value]] = {}
    resampled: dict[str, list[np.ndarray]] = defaultdict(list)
    for lang in languages:
        sums, malformed = _evaluate_language(captioner, scenes, lang, gallery, batch)
        found: dict[str, Value] = {key: ratio.value() for key, ratio in sums.items()}
        found["malformed"] = malformed
        rows[lang] = {key: found[key] for key in KEYS}
        for key, ratio in sums.items():
            resampled[key].append(ratio.resampled(weights))  # [R]
    return Report(
        n=len(scenes),
        values={key: _over_languages(key, [row[key] for row in rows.values()]) for key in KEYS},
        intervals={key: interval(np.mean(draws, 0)) for key, draws in resampled.items()},
        languages=rows,
        about=about or {},
    )


def _over_languages(key: str, values: Sequence[Value]) -> Value:
    """The mean of what was measured; of malformed boxes, which are counted, the sum."""
    measured = [value for value in values if value is not None]
    if key == "malformed":
        return int(sum(measured))
    return sum(measured) / len(measured) if measured else None


def _gallery(
    captioner: Subject, scenes: Sequence[Pictured], batch: int, held_out_phrasing: bool
) -> _Gallery:
    said = [
        statement(scene, np.random.default_rng(i), "plain") for i, (_, scene) in enumerate(scenes)
    ]
    # Only scenes with the same things can share a text: compare within those groups.
    same_things: dict[frozenset[Any], list[int]] = defaultdict(list)
    for i, one in enumerate(said):
        same_things[frozenset(names_of(one).items())].append(i)
    positive = np.zeros((len(said), len(said)), bool)  # [N,N]
    for group in same_things.values():
        for row in group:
            for column in group:
                positive[row, column] = is_true(scenes[row][1], said[column])
    pictures = [image for image, _ in scenes]
    embeddings = [
        captioner.embed_images(pictures[i : i + batch]) for i in range(0, len(pictures), batch)
    ]
    return _Gallery(
        statements=said,
        twins=[list(twins(scene, one)) for (_, scene), one in zip(scenes, said, strict=True)],
        positive=positive,
        embeddings=np.concatenate(embeddings),  # [N,E]
        held_out_phrasing=held_out_phrasing,
    )


def _evaluate_language(
    captioner: Subject, scenes: Sequence[Pictured], lang: str, gallery: _Gallery, batch: int
) -> tuple[Tally, int]:
    pictures, graphs = [image for image, _ in scenes], [scene for _, scene in scenes]
    captions = []
    for start in progress(range(0, len(scenes), batch), f"{lang}: captions"):
        found = captioner.caption(pictures[start : start + batch], lang=lang)
        captions += [parse(caption.raw, lang) for caption in found]
    scores = [score_scene(scene, said) for scene, said in zip(graphs, captions, strict=True)]
    grey = np.full_like(pictures[0], MID_GREY)  # [224,224,3]
    guess = parse(captioner.caption([grey], lang=lang)[0].raw, lang)
    others = captions[1:] + captions[:1]
    ones = np.ones(len(scenes))  # [N]
    sums = {
        **tally(scores),
        **_compare(captioner, lang, gallery, batch),
        "blind_exact": Ratio(_exact(graphs, [guess] * len(graphs)), ones),
        "shuffled_exact": Ratio(_exact(graphs, others), ones),
    }
    return sums, sum(score.malformed for score in scores)


def _exact(graphs: Sequence[Scene], captions: Sequence[Any]) -> np.ndarray:
    """Float64 [N]: 1 where the caption of that place names the scene exactly."""
    pairs = zip(graphs, captions, strict=True)
    return np.array([score_scene(scene, said).exact for scene, said in pairs], np.float64)


def _compare(captioner: Subject, lang: str, gallery: _Gallery, batch: int) -> Tally:
    """The retrieval and hard-negative keys."""
    grammar = for_language(lang)
    wording = grammar.held_out_templates[0] if gallery.held_out_phrasing else 0
    texts = [grammar.render(one, wording) for one in gallery.statements]  # N
    false = [grammar.render(twin, wording) for group in gallery.twins for twin in group]
    N, every = len(texts), texts + false  # Q = N + twins
    starts = progress(range(0, len(every), batch), f"{lang}: texts")
    parts = [captioner.embed_texts(every[i : i + batch]) for i in starts]
    embedded = np.concatenate(parts)  # [Q,E]
    similarity = gallery.embeddings @ embedded[:N].T  # [N,N], row picture, column text
    place = np.arange(N)  # [N]
    owner = np.repeat(place, [len(group) for group in gallery.twins])  # [Q-N], scene of each twin
    # The same sum in the same order for both, so that equal embeddings give equal scores.
    true = np.einsum("te,te->t", gallery.embeddings, embedded[:N])  # [N]
    against = np.einsum("te,te->t", gallery.embeddings[owner], embedded[N:])  # [Q-N]
    beaten = np.ones(N)  # [N]
    np.minimum.at(beaten, owner, true[owner] > against)
    tested = np.bincount(owner, minlength=N) > 0  # [N]
    ones = np.ones(N)  # [N]
    return {
        "retrieval_r1_i2t": Ratio(
            gallery.positive[place, similarity.argmax(1)].astype(np.float64), ones
        ),
        "retrieval_r1_t2i": Ratio(
            gallery.positive[similarity.argmax(0), place].astype(np.float64), ones
        ),
        "hard_negative": Ratio(beaten * tested, tested.astype(np.float64)),
    }
