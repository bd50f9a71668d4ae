"""The scene graph: what is in an image, exactly. Renderer, grammar, parser, metrics speak it."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]  # x0 y0 x1 y1, px of the model_input

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
SHAPES = ("circle", "square", "triangle", "diamond", "star", "ring")
# left, right, above and below are of a pair; between is of three; biggest and smallest of one.
RELATIONS = ("left", "right", "above", "below", "between", "biggest", "smallest")


@dataclass(frozen=True, order=True)
class Name:
    """What a thing is called: a noun key ("dog") or a shape key, and for shapes a colour.

    Mention-dropout captions give partial names: `Name(noun="circle")` (colour unsaid) and
    `Name(noun="", color="red")` (shape unsaid).
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
    """What one caption says: mentions in the order said, and at most one relation."""

    mentions: tuple[Mention, ...] = ()
    relation: Relation | None = None


@dataclass(frozen=True)
class Scene:
    """Things on a square model_input, `size` px a side."""

    things: tuple[Thing, ...]
    size: int = 224
