"""Hard negatives of a true caption: the same words combined into a false statement.

A bag-of-words model scores them as high as the true caption (Winoground, arXiv 2204.03162).
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

_NUMBERS = 0.3  # share of false labels with a false number rather than a false name

INVERSE = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "biggest": "smallest",
    "smallest": "biggest",
}


def hard_negatives(scene: Scene, statement: Statement) -> Iterator[Statement]:
    """False statements made from the parts of a true one: at most one of each kind.

    Kinds: two colours swapped, the numbers of two names swapped, the relation inverted. Kinds that
    do not apply to the statement are left out, and so are results that are true of the scene.
    """
    for kind in (swapped_colors, swapped_names, inverted_relation):
        false = next((changed for changed in kind(statement) if not is_true(scene, changed)), None)
        if false is not None:
            yield false


def is_true(scene: Scene, statement: Statement) -> bool:
    """Whether the statement names exactly the things of the scene and its relation holds."""
    return names_of(statement) == names_in(scene) and relation_holds(scene, statement)


def relation_holds(scene: Scene, statement: Statement) -> bool:
    """Whether the statement's relation is true of the scene; True where it has none."""
    return statement.relation is None or holds(scene, statement.relation)


def names_in(scene: Scene) -> Counter[Name]:
    """Number of things of each name in a scene."""
    return Counter(thing.name for thing in scene.things)


def names_of(statement: Statement) -> Counter[Name]:
    """Number of things of each name in a statement."""
    names: Counter[Name] = Counter()
    for mention in statement.mentions:
        names[mention.name] += mention.count
    return names


def part(scene: Scene, rng: np.random.Generator) -> Statement:
    """One or two of the names in a scene, each with its number, as a zero-shot label has them."""
    shown = [Mention(name, count) for name, count in sorted(names_in(scene).items())]
    some = rng.permutation(len(shown))[: int(rng.integers(1, 3))]
    return Statement(tuple(shown[i] for i in some))


def false_label(scene: Scene, true: Statement, rng: np.random.Generator) -> Statement:
    """`true` with one name replaced by an absent one, or with one number off by one."""
    at = int(rng.integers(len(true.mentions)))
    changed = true.mentions[at]
    near = [n for n in (changed.count - 1, changed.count + 1) if 0 < n <= MOST_ALIKE]
    if near and rng.random() < _NUMBERS:
        false = replace(changed, count=near[rng.integers(len(near))])
    else:
        shown, name = names_in(scene), changed.name
        while name in shown:  # a shape becomes another shape: harder than an animal
            name = draw_name(rng, ()) if changed.name.color else draw_name(rng)
        false = replace(changed, name=name)
    return Statement((*true.mentions[:at], false, *true.mentions[at + 1 :]))


def swapped_colors(statement: Statement) -> Iterator[Statement]:
    """ "a red circle and a blue square" -> "a blue circle and a red square"."""
    colored = [m.name for m in statement.mentions if m.name.color and m.name.noun]
    for a, b in combinations(colored, 2):
        swap = {a: Name(a.noun, b.color), b: Name(b.noun, a.color)}
        # A repeated name would reveal the false statement by its form.
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

    For "between", one of the other two goes to the middle.
    """
    relation = statement.relation
    if relation is None:
        return
    if relation.kind in INVERSE:
        yield replace(statement, relation=replace(relation, kind=INVERSE[relation.kind]))
    elif relation.kind == "between":
        first, *others = relation.objects
        changed = replace(relation, subject=first, objects=(relation.subject, *others))
        yield replace(statement, relation=changed)


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
