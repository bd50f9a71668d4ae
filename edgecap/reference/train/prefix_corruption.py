"""Lists with a slip in them, such as a model makes: training alone goes on from them.

A model that has missed or misnamed a thing, or told two of a kind as one and one, goes on from its
own words, and no caption of the training ever did: it then tells of "the dog" where it sees two, or
tells nothing (exposure bias: Ranzato et al. 2016, arXiv 1511.06732). Captions that go on truly
from a slip, with all learnt but the slip and the list after it, teach to tell from the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecap.reference.scenes.graph import Mention, Name
from edgecap.reference.scenes.nouns import NOUNS

_APART = 0.8  # of the slips in a list with a group
_UNGROUPED = 1 / 3  # as likely is a slip in a list without one


def weight(said: Sequence[Mention]) -> float:
    """How likely a slip is in this list, against one in a list that tells a group: 0 … 1."""
    return 1.0 if any(mention.count > 1 for mention in said) else _UNGROUPED


def corrupt_prefix(said: Sequence[Mention], rng: np.random.Generator) -> tuple[Mention, ...]:
    """The list `said`, each mention with its boxes, with one slip.

    Where a group is told, some of it are mostly told apart, one by one: what models do most, since
    they name a kind before they have counted it. Else a thing is misnamed, or missed unless it is
    the only one.
    """
    groups = [mention for mention in said if mention.count > 1]
    if groups and rng.random() < _APART:
        told = _apart(said, groups[int(rng.integers(len(groups)))], rng)
    else:
        told = _wrong(said, rng)
    return tuple(sorted(told, key=lambda mention: (mention.boxes[0], mention.name)))


def _apart(said: Sequence[Mention], group: Mention, rng: np.random.Generator) -> list[Mention]:
    """Some of a group alone, the others together if they are any more than one."""
    boxes = [group.boxes[i] for i in rng.permutation(group.count)]
    alone = int(rng.integers(1, group.count))  # all but one alone: all are
    parts = [[box] for box in boxes[:alone]] + [boxes[alone:]]
    told = [Mention(group.name, len(part), tuple(sorted(part))) for part in parts]
    return [mention for mention in said if mention is not group] + told


def _wrong(said: Sequence[Mention], rng: np.random.Generator) -> list[Mention]:
    """One thing misnamed or missed."""
    things = [(mention, box) for mention in said for box in mention.boxes]
    one, box = things[int(rng.integers(len(things)))]
    others = [mention for mention in said if mention is not one]
    rest = tuple(other for other in one.boxes if other != box)
    if rest:
        others.append(replace(one, count=len(rest), boxes=rest))
    if others and rng.random() < 0.5:
        return others
    nouns = [noun for noun in NOUNS if noun != one.name.noun]
    return [*others, Mention(Name(nouns[int(rng.integers(len(nouns)))]), 1, (box,))]
