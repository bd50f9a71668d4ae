"""What to say of a scene: which things, in which order and under which names, and one relation."""

from __future__ import annotations

import numpy as np

from edgecap.core.errors import InputError
from edgecap.core.tokens import STYLES
from edgecap.scenes.graph import Box, Mention, Name, Relation, Scene, Statement
from edgecap.scenes.relations import relations


def statement(scene: Scene, rng: np.random.Generator, style: str) -> Statement:
    """What a caption in `style` says of the scene; `rng` chooses the relation.

    grounded  every thing with its boxes, and a relation where one is clear
    plain     the same without boxes
    relate    the relation alone; every thing, without boxes, where none is clear
    color     every thing with its boxes, shapes by their colour only
    shape     the same, shapes without their colour
    """
    if style not in STYLES:
        raise InputError("scenes.style", f"Style {style!r} is none of {', '.join(STYLES)}.")
    if style in ("color", "shape"):
        return Statement(mentions(scene, style))
    relation = _choose(relations(scene), rng)
    if style == "relate" and relation is not None:
        return Statement(relation=relation)
    said = mentions(scene)
    if style != "grounded":
        said = tuple(Mention(mention.name, mention.count) for mention in said)
    return Statement(said, relation if style != "relate" else None)


def mentions(scene: Scene, style: str = "grounded") -> tuple[Mention, ...]:
    """Groups of things with one name, from left to right by their leftmost edge, then by the top.

    Names lose what `style` drops before grouping: a red and a blue circle are "two circles".
    """
    groups: dict[Name, list[Box]] = {}
    for thing in scene.things:
        groups.setdefault(_partial(thing.name, style), []).append(thing.box)
    said = [Mention(name, len(boxes), tuple(sorted(boxes))) for name, boxes in groups.items()]
    return tuple(sorted(said, key=lambda mention: (mention.boxes[0], mention.name)))


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
