"""What to say of a scene: which things, in which order and under which names, and one relation."""

from __future__ import annotations

import numpy as np

from edgecap.core.errors import InputError
from edgecap.reference.scenes.graph import (
    COLORS,
    SHAPES,
    Box,
    Mention,
    Name,
    Relation,
    Scene,
    Statement,
)
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.relations import extremes, relations, side, unique
from edgecap.reference.tokens import STYLES

# Of areas. Less than what is clear, so that a model unsure of the ratio still tells what is clear.
_TOLD_RATIO = 1.15
_NOUN_RANK = {noun: i for i, noun in enumerate((*NOUNS, *SHAPES))}  # animals come first


def statement(scene: Scene, rng: np.random.Generator, style: str) -> Statement:
    """What a caption in `style` says of the scene; `rng` chooses the relation of plain and relate.

    grounded  every thing with its boxes, and the relation that is worth telling, if there is one
    plain     every thing without boxes, and any clear relation
    relate    the relation alone; every thing, without boxes, where none is clear
    color     every thing with its boxes, shapes by their colour only
    shape     the same, shapes without their colour
    """
    if style not in STYLES:
        raise InputError("scenes.style", f"Style {style!r} is none of {', '.join(STYLES)}.")
    if style in ("color", "shape"):
        return Statement(mentions(scene, style))
    if style == "grounded":
        return Statement(mentions(scene), worth_telling(scene))
    relation = _choose(relations(scene), rng)
    if style == "relate" and relation is not None:
        return Statement(relation=relation)
    said = tuple(Mention(mention.name, mention.count) for mention in mentions(scene))
    return Statement(said, relation)


def mentions(scene: Scene, style: str = "grounded") -> tuple[Mention, ...]:
    """Groups of things with one name, from left to right by their leftmost edge, then by the top.

    Names lose what `style` drops before grouping: a red and a blue circle are "two circles".
    """
    groups: dict[Name, list[Box]] = {}
    for thing in scene.things:
        groups.setdefault(_partial(thing.name, style), []).append(thing.box)
    said = [Mention(name, len(boxes), tuple(sorted(boxes))) for name, boxes in groups.items()]
    return tuple(sorted(said, key=lambda mention: (mention.boxes[0], mention.name)))


def worth_telling(scene: Scene) -> Relation | None:
    """The one relation that a grounded caption tells, a function of the scene alone.

    Where the thing first in rank stands, seen from the next, along the axis on which they are
    further apart; without a second unique name, that the first thing is the biggest or smallest.
    Speakers name the living before the lifeless (the animacy hierarchy: Silverstein 1976), and what
    is always chosen alike a rounded model chooses too: a choice left to chance is a tie that any
    int8 breaks in its own way.
    """
    ranked = sorted(unique(scene), key=lambda thing: _rank(thing.name))
    if len(ranked) < 2:
        return next(iter(extremes(scene, _TOLD_RATIO)), None)
    subject, other = ranked[:2]
    return Relation(side(subject.box, other.box), subject.name, (other.name,))


def _rank(name: Name) -> tuple[int, int]:
    return _NOUN_RANK[name.noun], COLORS.index(name.color) if name.color else -1


def _partial(name: Name, style: str) -> Name:
    if name.color and style == "color":
        return Name("", name.color)
    if name.color and style == "shape":
        return Name(name.noun)
    return name


def _choose(clear: list[Relation], rng: np.random.Generator) -> Relation | None:
    """A relation with every kind equally likely, not every instance: extremes are rarer."""
    kinds = sorted({relation.kind for relation in clear})
    if not kinds:
        return None
    kind = kinds[int(rng.random() * len(kinds))]
    of_kind = [relation for relation in clear if relation.kind == kind]
    return of_kind[int(rng.random() * len(of_kind))]
