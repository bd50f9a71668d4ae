"""The scene graph: what an image contains. Shared by renderer, grammar, parser and metrics."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]  # x0 y0 x1 y1, px of the model input

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
SHAPES = ("circle", "square", "triangle", "diamond", "star", "ring")
# left, right, above and below relate two things, between three; biggest and smallest have one.
RELATIONS = ("left", "right", "above", "below", "between", "biggest", "smallest")


@dataclass(frozen=True, order=True)
class Name:
    """What a thing is called: a noun key ("dog") or a shape key, and for shapes a colour.

    Mention-dropout captions give partial names: `Name(noun="circle")` (no colour) and
    `Name(noun="", color="red")` (no shape).
    """

    noun: str
    color: str = ""


@dataclass(frozen=True)
class Thing:
    """One drawn object with its exact box (tight around the drawn pixels)."""

    name: Name
    box: Box


@dataclass(frozen=True)
class Mention:
    """A group of identical things as a caption names them: "two red circles" with two boxes.

    Ungrounded captions have `boxes == ()`.
    """

    name: Name
    count: int
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Relation:
    """`kind(subject, *objects)`: left(a, b) says that a is to the left of b."""

    kind: str
    subject: Name
    objects: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Statement:
    """The content of one caption: mentions in caption order, and at most one relation."""

    mentions: tuple[Mention, ...] = ()
    relation: Relation | None = None


@dataclass(frozen=True)
class Scene:
    """Things on a square model input, `size` px a side."""

    things: tuple[Thing, ...]
    size: int = 224
