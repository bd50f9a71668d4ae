"""Contrastive pairs of a scene: texts and their hard negatives, true and false claims.

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
    """The scene's text and a hard negative of it; the same text twice where there is none."""
    true = statement(scene, rng, "plain")
    false = list(hard_negatives(scene, true))
    return true, false[rng.integers(len(false))] if false else true


def matches(scenes: list[Scene], texts: list[Statement]) -> Tensor:
    """Which text is true of which scene, bool [Q,R].

    Relations are checked only for texts that name a scene's things: a large batch has many pairs.
    """
    by_names: dict[frozenset[tuple[Name, int]], list[int]] = {}
    for column, text in enumerate(texts):
        by_names.setdefault(frozenset(names_of(text).items()), []).append(column)
    matching = torch.zeros(len(scenes), len(texts), dtype=torch.bool)
    for row, scene in enumerate(scenes):
        for column in by_names.get(frozenset(names_in(scene).items()), ()):
            matching[row, column] = relation_holds(scene, texts[column])
    return matching


def separating_question(true: Statement, false: Statement) -> list[int]:
    """The question, as in `hints.question`, that separates a text from its hard negative."""
    differ_by_relation = true.mentions == false.mentions and true != false
    return question(true.relation if differ_by_relation else None)


def relation_and_inverse(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """A relation of the scene and its inverse; the same text twice where it has none."""
    true = statement(scene, rng, "relate")
    false = (one for one in inverted_relation(true) if not relation_holds(scene, one))
    return true, next(false, true)


def part_and_false(scene: Scene, rng: np.random.Generator) -> tuple[Statement, Statement]:
    """A label that is true of the scene, and a similar one that is false.

    In the contrastive loss a text that names only a part is a negative, else search would return
    too much. This pair teaches that it is still closer than a text that is wrong.
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
