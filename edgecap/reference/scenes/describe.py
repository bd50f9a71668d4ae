"""The content of a scene's captions: which things, in which order, which names and relation."""

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

# Of areas. Below the ratio of a clear relation, so that clear ones are stated even by a model that
# misjudges the ratio a little.
_EXTREME_RATIO = 1.15
_NOUN_RANK = {noun: i for i, noun in enumerate((*NOUNS, *SHAPES))}  # animals come first


def statement(scene: Scene, rng: np.random.Generator, style: str) -> Statement:
    """The content of a caption in `style`; `rng` chooses the relation of plain and relate.

    grounded  every thing with its boxes, and the main relation, if there is one
    plain     every thing without boxes, and any clear relation
    relate    the relation alone; every thing, without boxes, where none is clear
    color     every thing with its boxes, shapes by their colour only
    shape     the same, shapes without their colour
    """
    if style not in STYLES:
        raise InputError("scenes.style", f"Style {style!r} is not one of {', '.join(STYLES)}.")
    if style in ("color", "shape"):
        return Statement(mentions(scene, style))
    if style == "grounded":
        return Statement(mentions(scene), main_relation(scene))
    relation = _choose(relations(scene), rng)
    if style == "relate" and relation is not None:
        return Statement(relation=relation)
    listed = tuple(Mention(mention.name, mention.count) for mention in mentions(scene))
    return Statement(listed, relation)


def mentions(scene: Scene, style: str = "grounded") -> tuple[Mention, ...]:
    """Groups of things with one name, ordered by leftmost edge, then by top edge.

    Names lose what `style` drops before grouping: a red and a blue circle are "two circles".
    """
    groups: dict[Name, list[Box]] = {}
    for thing in scene.things:
        groups.setdefault(_partial(thing.name, style), []).append(thing.box)
    found = [Mention(name, len(boxes), tuple(sorted(boxes))) for name, boxes in groups.items()]
    return tuple(sorted(found, key=lambda mention: (mention.boxes[0], mention.name)))


def main_relation(scene: Scene) -> Relation | None:
    """The one relation that a grounded caption states; deterministic in the scene.

    It says on which side of the second-ranked thing the first-ranked one lies, along the axis on
    which they are further apart; without a second unique name, whether the first is the biggest or
    smallest. Ranks follow the animacy hierarchy (Silverstein 1976): animals first. The choice is
    deterministic because a random one would be a tie that each quantised model breaks differently.
    """
    ranked = sorted(unique(scene), key=lambda thing: _rank(thing.name))
    if len(ranked) < 2:
        return next(iter(extremes(scene, _EXTREME_RATIO)), None)
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
    """A random relation; kinds are equally likely, not instances, because extremes are rarer."""
    kinds = sorted({relation.kind for relation in clear})
    if not kinds:
        return None
    kind = kinds[int(rng.random() * len(kinds))]
    of_kind = [relation for relation in clear if relation.kind == kind]
    return of_kind[int(rng.random() * len(of_kind))]
