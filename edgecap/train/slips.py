"""Lists with a slip in them, such as a model makes: training alone goes on from them.

A model that has missed or misnamed a thing, or told two of a kind as one and one, goes on from its
own words, and no caption of the training ever did: it then tells of "the dog" where it sees two, or
tells nothing (exposure bias: Ranzato et al. 2016, arXiv 1511.06732). Captions that go on truly
from a slip, with only what comes after it learnt, teach to tell from the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecap.scenes.graph import Mention, Name
from edgecap.scenes.nouns import NOUNS


def slipped(said: Sequence[Mention], rng: np.random.Generator) -> tuple[Mention, ...]:
    """The list `said`, each mention with its boxes, with one slip.

    One thing is misnamed, or missed unless it is the only one, or told apart from its group.
    """
    things = [(at, box) for at, mention in enumerate(said) for box in mention.boxes]
    at, box = things[int(rng.integers(len(things)))]
    one, others = said[at], [*said[:at], *said[at + 1 :]]
    rest = tuple(other for other in one.boxes if other != box)
    if rest:
        others.append(replace(one, count=len(rest), boxes=rest))
    nouns = [noun for noun in NOUNS if noun != one.name.noun]
    misnamed = Mention(Name(nouns[int(rng.integers(len(nouns)))]), 1, (box,))
    alone = Mention(one.name, 1, (box,))
    # A group told apart misleads most, so where there is one that is as likely as the others.
    slips = [[misnamed]] + [[]] * bool(others) + [[alone], [alone]] * bool(rest)
    told = others + slips[int(rng.integers(len(slips)))]
    return tuple(sorted(told, key=lambda mention: (mention.boxes[0], mention.name)))
