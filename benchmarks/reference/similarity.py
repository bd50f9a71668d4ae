"""The keys of `edgecap eval` that compare embeddings: retrieval and hard negatives.

N scenes, E embedding width, Q texts.

    retrieval_r1_i2t  scenes whose best-scoring text, among those of all N scenes, is true of them
    retrieval_r1_t2i  texts whose best-scoring scene, among all N, they are true of
    hard_negative     scenes whose true text scores above all its hard negatives, among scenes with
                      any (see `scenes.hard_negatives`)
    hard_pair         hard negatives, of all scenes, that score below the true text

The text of a scene is its plain caption. It is true of a scene that has exactly the things it
names and in which its relation, if it states one, holds; identical statements are therefore
positives of each other. A score is the cosine of the two embeddings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgecap.benchmarks.reference.metrics import Ratio, Tally
from edgecap.core.progress import progress
from edgecap.reference.scenes.describe import statement
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Scene, Statement
from edgecap.reference.scenes.hard_negatives import hard_negatives, is_true, names_of

HARD = ("hard_negative", "hard_pair")
COMPARED = ("retrieval_r1_i2t", "retrieval_r1_t2i", *HARD)
Scened = tuple[np.ndarray, Scene]  # uint8 [224,224,3] and what it shows


class RawCaption(Protocol):
    """A caption with its location tokens still in it."""

    @property
    def raw(self) -> str: ...


class Subject(Protocol):
    """The evaluated model: a captioner of `edgecap.runtime`, or an object with the same methods."""

    def caption(self, images: Sequence[Any], lang: str) -> Sequence[RawCaption]: ...

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        """Float [N,E], norm 1."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Float [Q,E], norm 1."""


@dataclass(frozen=True)
class Gallery:
    """The language-independent inputs of the embedding keys."""

    statements: list[Statement]  # N
    hard_negatives: list[list[Statement]]  # N
    positive: np.ndarray  # bool [N,N]: text of the column is true of the scene of the row
    embeddings: np.ndarray  # float [N,E], of the images
    held_out_phrasing: bool


def gallery(
    captioner: Subject, scenes: Sequence[Scened], batch: int, held_out_phrasing: bool
) -> Gallery:
    """Embed the images and find which statements are true of which scenes."""
    statements = [
        statement(scene, np.random.default_rng(i), "plain") for i, (_, scene) in enumerate(scenes)
    ]
    # Only scenes with the same things can share a text: compare within those groups.
    same_things: dict[frozenset[Any], list[int]] = defaultdict(list)
    for i, one in enumerate(statements):
        same_things[frozenset(names_of(one).items())].append(i)
    positive = np.zeros((len(statements), len(statements)), bool)  # [N,N]
    for group in same_things.values():
        for row in group:
            for column in group:
                positive[row, column] = is_true(scenes[row][1], statements[column])
    images = [image for image, _ in scenes]
    embeddings = [
        captioner.embed_images(images[i : i + batch]) for i in range(0, len(images), batch)
    ]
    return Gallery(
        statements=statements,
        hard_negatives=[
            list(hard_negatives(scene, one))
            for (_, scene), one in zip(scenes, statements, strict=True)
        ],
        positive=positive,
        embeddings=np.concatenate(embeddings),  # [N,E]
        held_out_phrasing=held_out_phrasing,
    )


def compare(captioner: Subject, lang: str, shown: Gallery, batch: int) -> Tally:
    """The keys of COMPARED in one language, with their floors.

    blind_KEY is chance: for retrieval the share of true texts, for k hard negatives 1 / (k + 1),
    for a single one 1 / 2. shuffled_KEY of HARD pairs every text with the image of another scene;
    for retrieval it would be no floor, since the text of that image is found.
    """
    grammar = for_language(lang)
    wording = grammar.held_out_templates[0] if shown.held_out_phrasing else 0
    texts = [grammar.render(one, wording) for one in shown.statements]  # N
    false = [grammar.render(one, wording) for group in shown.hard_negatives for one in group]
    every = texts + false  # Q = N + hard negatives
    starts = progress(range(0, len(every), batch), f"{lang}: texts")
    parts = [captioner.embed_texts(every[i : i + batch]) for i in starts]
    embedded = np.concatenate(parts)  # [Q,E]
    shuffled = _scored(np.roll(shown.embeddings, -1, 0), embedded, shown)
    counts = np.array([len(group) for group in shown.hard_negatives], np.float64)  # [N]
    tested = (counts > 0).astype(np.float64)  # [N]
    return {
        **_scored(shown.embeddings, embedded, shown),
        **{f"shuffled_{key}": shuffled[key] for key in HARD},
        "blind_retrieval_r1_i2t": Ratio(shown.positive.mean(1), np.ones_like(tested)),
        "blind_retrieval_r1_t2i": Ratio(shown.positive.mean(0), np.ones_like(tested)),
        "blind_hard_negative": Ratio(tested / (counts + 1), tested),
        "blind_hard_pair": Ratio(counts / 2, counts),
    }


def _scored(images: np.ndarray, embedded: np.ndarray, shown: Gallery) -> Tally:
    """The keys of COMPARED for images [N,E] and texts [Q,E], the true ones first."""
    N = len(images)
    similarity = images @ embedded[:N].T  # [N,N], row image, column text
    place = np.arange(N)  # [N]
    owner = np.repeat(
        place, [len(group) for group in shown.hard_negatives]
    )  # [Q-N], scene of each hard negative
    # The same sum in the same order for both, so that equal embeddings give equal scores.
    true = np.einsum("te,te->t", images, embedded[:N])  # [N]
    against = np.einsum("te,te->t", images[owner], embedded[N:])  # [Q-N]
    wins = (true[owner] > against).astype(np.float64)  # [Q-N]
    beaten = np.bincount(owner, wins, N)  # [N]
    counts = np.bincount(owner, minlength=N).astype(np.float64)  # [N]
    tested = (counts > 0).astype(np.float64)  # [N]
    ones = np.ones(N)  # [N]
    return {
        "retrieval_r1_i2t": Ratio(
            shown.positive[place, similarity.argmax(1)].astype(np.float64), ones
        ),
        "retrieval_r1_t2i": Ratio(
            shown.positive[similarity.argmax(0), place].astype(np.float64), ones
        ),
        "hard_negative": Ratio(tested * (beaten == counts), tested),
        "hard_pair": Ratio(beaten, counts),
    }
