"""False hard_negatives of a true caption: the same words, put together wrongly.

A model that sees a bag of words scores a twin as high as the truth (Winoground, arXiv 2204.03162).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from edgecap.reference.scenes.graph import Mention, Name, Scene, Statement
from edgecap.reference.scenes.relations import holds
from edgecap.reference.scenes.sample import MOST_ALIKE, draw_name

_NUMBERS = 0.3  # share of false parts whose number is false, not a name

INVERSE = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "biggest": "smallest",
    "smallest": "biggest",
}


def hard_negatives(scene: Scene, statement: Statement) -> Iterator[Statement]:
    """False statements made of the parts of a true one: at most one of each kind.

    Two colours swapped, the numbers of two names swapped, the relation inverted. Kinds that the
    statement gives no room for are left out; so is anything that happens to be true of the scene.
    """
    for kind in (swapped_colors, swapped_names, inverted_relation):
        false = next((twin for twin in kind(statement) if not is_true(scene, twin)), None)
        if false is not None:
            yield false


def is_true(scene: Scene, statement: Statement) -> bool:
    """Whether the statement names exactly the things of the scene and its relation holds."""
    return names_of(statement) == names_in(scene) and relation_holds(scene, statement)


def relation_holds(scene: Scene, statement: Statement) -> bool:
    """Whether the statement's relation is true of the scene; so is having none."""
    return statement.relation is None or holds(scene, statement.relation)


def names_in(scene: Scene) -> Counter[Name]:
    """How many things of each name a scene shows."""
    return Counter(thing.name for thing in scene.things)


def names_of(statement: Statement) -> Counter[Name]:
    """How many things of each name a statement mentions."""
    names: Counter[Name] = Counter()
    for mention in statement.mentions:
        names[mention.name] += mention.count
    return names


def part(scene: Scene, rng: np.random.Generator) -> Statement:
    """One or two of the names that a scene shows, each with its number: what a label says."""
    said = [Mention(name, count) for name, count in sorted(names_in(scene).items())]
    some = rng.permutation(len(said))[: int(rng.integers(1, 3))]
    return Statement(tuple(said[i] for i in some))


def false_label(scene: Scene, true: Statement, rng: np.random.Generator) -> Statement:
    """The same with a name that the scene does not show, or with a number one off."""
    at = int(rng.integers(len(true.mentions)))
    told = true.mentions[at]
    near = [n for n in (told.count - 1, told.count + 1) if 0 < n <= MOST_ALIKE]
    if near and rng.random() < _NUMBERS:
        false = replace(told, count=near[rng.integers(len(near))])
    else:
        shown, name = names_in(scene), told.name
        while name in shown:  # of a shape another shape, which is harder to tell than an animal
            name = draw_name(rng, ()) if told.name.color else draw_name(rng)
        false = replace(told, name=name)
    return Statement((*true.mentions[:at], false, *true.mentions[at + 1 :]))


def swapped_colors(statement: Statement) -> Iterator[Statement]:
    """ "a red circle and a blue square" -> "a blue circle and a red square"."""
    colored = [m.name for m in statement.mentions if m.name.color and m.name.noun]
    for a, b in combinations(colored, 2):
        swap = {a: Name(a.noun, b.color), b: Name(b.noun, a.color)}
        # A name said twice would give the twin away by its form.
        if a.color != b.color and a.noun != b.noun and not set(swap.values()) & set(colored):
            yield renamed(statement, swap)


def swapped_names(statement: Statement) -> Iterator[Statement]:
    """ "two dogs and a cat" -> "two cats and a dog"."""
    for a, b in combinations(statement.mentions, 2):
        if a.count != b.count and a.name != b.name:
            swap = {a.name: b.name, b.name: a.name}
            yield renamed(statement, swap)


def inverted_relation(statement: Statement) -> Iterator[Statement]:
    """ "the dog is to the left of the cat" -> "… to the right …".

    Of "between", another of the three goes to the middle.
    """
    relation = statement.relation
    if relation is None:
        return
    if relation.kind in INVERSE:
        yield replace(statement, relation=replace(relation, kind=INVERSE[relation.kind]))
    elif relation.kind == "between":
        first, *others = relation.objects
        twin = replace(relation, subject=first, objects=(relation.subject, *others))
        yield replace(statement, relation=twin)


def renamed(statement: Statement, names: Mapping[Name, Name]) -> Statement:
    """The statement with names replaced, in mentions and relation alike."""

    def rename(name: Name) -> Name:
        return names.get(name, name)

    relation = statement.relation
    return Statement(
        mentions=tuple(Mention(rename(m.name), m.count, m.boxes) for m in statement.mentions),
        relation=relation
        and replace(
            relation,
            subject=rename(relation.subject),
            objects=tuple(rename(name) for name in relation.objects),
        ),
    )
