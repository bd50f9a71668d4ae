"""What a scene's embedding must tell apart: texts and their false hard_negatives, claims and false
ones.

Q scenes with texts, R texts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from edgecap.reference.scenes.describe import statement
from edgecap.reference.scenes.graph import Name, Scene, Statement
from edgecap.reference.scenes.hard_negatives import (
    false_label,
    hard_negatives,
    inverted_relation,
    names_in,
    names_of,
    part,
    relation_holds,
)
from edgecap.reference.train.config import Stage
from edgecap.reference.train.hints import question


def true_and_false(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """What the scene's text says, and a false twin of it; twice the truth where it has none."""
    true = statement(scene, rng, "plain")
    false = list(hard_negatives(scene, true))
    return true, false[rng.integers(len(false))] if false else true


def matches(scenes: list[Scene], texts: list[Statement]) -> Tensor:
    """Which text is true of which scene, bool [Q,R].

    Only texts that name a scene's things are asked further: a large batch has too many pairs.
    """
    by_names: dict[frozenset[tuple[Name, int]], list[int]] = {}
    for column, text in enumerate(texts):
        by_names.setdefault(frozenset(names_of(text).items()), []).append(column)
    told = torch.zeros(len(scenes), len(texts), dtype=torch.bool)
    for row, scene in enumerate(scenes):
        for column in by_names.get(frozenset(names_in(scene).items()), ()):
            told[row, column] = relation_holds(scene, texts[column])
    return told


def parting(true: Statement, false: Statement) -> list[int]:
    """What an image must be asked to tell a text from its twin, as of `question`."""
    relation_parts = true.mentions == false.mentions and true != false
    return question(true.relation if relation_parts else None)


def relation_and_inverse(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """A relation of the scene and its inverse; the same text twice where it has none."""
    true = statement(scene, rng, "relate")
    false = (one for one in inverted_relation(true) if not relation_holds(scene, one))
    return true, next(false, true)


def part_and_false(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """A label that is true of the scene, and a like one that is not.

    The contrastive loss calls a text false that names a part only, or searching would find too
    much; that it is less false than what names nothing of the image must be said beside it.
    """
    true = part(scene, rng)
    return true, false_label(scene, true, rng)


def claims_of(
    scene: Scene, stage: Stage, rng: np.random.Generator
) -> Iterator[tuple[Statement, Statement]]:
    """A scene's true claims, each with a false one: relations, then labels of parts."""
    for _ in range(stage.claims):
        yield relation_and_inverse(scene, rng)
    for _ in range(stage.parts):
        yield part_and_false(scene, rng)
