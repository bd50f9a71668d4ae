"""Corrupted caption prefixes with errors such as models make, for training only.

At inference a model continues from its own errors: a thing missed or misnamed, or two of a kind
listed one by one. Training captions have no such prefixes, so it then writes "the dog" where there
are two, or no relation (exposure bias: Ranzato et al. 2016, arXiv 1511.06732). Captions with a
corrupted list and a true continuation, without loss on the corrupted part, teach the model to rely
on the image instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecap.reference.scenes.graph import Mention, Name
from edgecap.reference.scenes.nouns import NOUNS

_APART = 0.8  # share of split groups among errors in a list with a group
_UNGROUPED = 1 / 3  # relative probability of an error in a list without a group


def weight(listed: Sequence[Mention]) -> float:
    """Relative probability of an error in this list, 0 … 1; 1 for lists with a group."""
    return 1.0 if any(mention.count > 1 for mention in listed) else _UNGROUPED


def corrupt_prefix(listed: Sequence[Mention], rng: np.random.Generator) -> tuple[Mention, ...]:
    """The list `listed`, whose mentions have boxes, with one error.

    A group is mostly split, some of it listed one by one, which is the most frequent error of
    models: they name a kind before they have counted it. Else a thing is misnamed, or left out
    unless it is the only one.
    """
    groups = [mention for mention in listed if mention.count > 1]
    if groups and rng.random() < _APART:
        corrupted = _split_group(listed, groups[int(rng.integers(len(groups)))], rng)
    else:
        corrupted = _misname_or_drop(listed, rng)
    return tuple(sorted(corrupted, key=lambda mention: (mention.boxes[0], mention.name)))


def _split_group(
    listed: Sequence[Mention], group: Mention, rng: np.random.Generator
) -> list[Mention]:
    """Some of a group listed one by one, the others together."""
    boxes = [group.boxes[i] for i in rng.permutation(group.count)]
    alone = int(rng.integers(1, group.count))  # count - 1 one by one leaves a single rest
    parts = [[box] for box in boxes[:alone]] + [boxes[alone:]]
    split = [Mention(group.name, len(part), tuple(sorted(part))) for part in parts]
    return [mention for mention in listed if mention is not group] + split


def _misname_or_drop(listed: Sequence[Mention], rng: np.random.Generator) -> list[Mention]:
    """One thing misnamed or left out."""
    things = [(mention, box) for mention in listed for box in mention.boxes]
    one, box = things[int(rng.integers(len(things)))]
    others = [mention for mention in listed if mention is not one]
    rest = tuple(other for other in one.boxes if other != box)
    if rest:
        others.append(replace(one, count=len(rest), boxes=rest))
    if others and rng.random() < 0.5:
        return others
    nouns = [noun for noun in NOUNS if noun != one.name.noun]
    return [*others, Mention(Name(nouns[int(rng.integers(len(nouns)))]), 1, (box,))]
