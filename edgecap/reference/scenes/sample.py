"""Random scenes: which things, where, how large, and on what background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecap.core.errors import InputError
from edgecap.reference.scenes import withheld
from edgecap.reference.scenes.backgrounds import FIELD_PX, NOISE_LEVELS, TRAINING_FAMILIES
from edgecap.reference.scenes.graph import COLORS, SHAPES, Box, Name, Scene, Thing
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.sprites import ANGLES, DARKEST, LIGHTEST, RGB, aspect

_NOUNS = tuple(NOUNS)
_JITTER, _TINT = 10, 4  # grey levels, of all channels together and of each channel
MOST_ALIKE = 5  # things of one name, except in the split `counts`
_TRIES = 24  # positions tried before a thing is made smaller


@dataclass(frozen=True)
class SceneRules:
    """What scenes may contain. Sizes are the long side of a thing's box, px."""

    size: int = 224  # px, side of the model input
    things: tuple[int, int] = (1, 5)  # fewest, most
    px: tuple[int, int] = (24, 110)  # smallest, largest
    copies: tuple[int, int] = (2, MOST_ALIKE)  # of a repeated kind
    repeat: float = 0.35  # share of scenes that repeat a kind
    overlap: float = 0.15  # of the smaller box
    backgrounds: tuple[str, ...] = TRAINING_FAMILIES
    nouns: tuple[str, ...] = _NOUNS  # emoji to draw; empty: shapes only
    shows: str = ""  # withheld combination that every scene shows, one of withheld.KINDS

    def __post_init__(self) -> None:
        if self.shows and self.shows not in withheld.KINDS:
            raise InputError(
                "scenes.withheld", f"{self.shows!r} is not one of {', '.join(withheld.KINDS)}."
            )


WINDOW_RULES: dict[int, SceneRules] = {
    112: SceneRules(size=112, things=(1, 3), px=(24, 64), copies=(2, 3)),
    160: SceneRules(size=160, things=(1, 4), px=(24, 80), copies=(2, 4)),
    224: SceneRules(),
}


@dataclass(frozen=True)
class Placed:
    """One thing to draw: its box in whole px of the model input."""

    name: Name
    x: int
    y: int
    width: int
    height: int
    angle: int  # degrees, one of sprites.ANGLES
    rgb: tuple[int, int, int]  # of a shape; (0, 0, 0) and unused for an emoji

    @property
    def box(self) -> Box:
        return (
            float(self.x),
            float(self.y),
            float(self.x + self.width),
            float(self.y + self.height),
        )


@dataclass(frozen=True)
class Drawing:
    """Everything `render.render` needs; later things lie on top of earlier ones."""

    size: int
    things: tuple[Placed, ...]
    background: str
    background_seed: int
    noise: int  # index of backgrounds.NOISE_LEVELS
    noise_at: tuple[int, int]  # left, top of the noise window

    @property
    def scene(self) -> Scene:
        return Scene(tuple(Thing(thing.name, thing.box) for thing in self.things), self.size)


def sample_drawing(
    rng: np.random.Generator, rules: SceneRules, origin: tuple[int, int] = (0, 0)
) -> Drawing:
    """One scene by `rules`, without withheld combinations except the one that `rules.shows` names.

    `origin` is the position (x, y; px) of a window's corner on the 224 px model input: the
    withheld class-and-quadrant combinations refer to the whole model input.
    """
    while True:
        names = _names(rng, rules)
        things = _place(rng, rules, names)
        if things is None:
            continue
        boxes = tuple(Thing(thing.name, thing.box) for thing in things)
        if withheld.shown(boxes, origin) == ({rules.shows} if rules.shows else set()):
            break
    room = FIELD_PX - rules.size + 1
    return Drawing(
        size=rules.size,
        things=tuple(things),
        background=rules.backgrounds[_below(rng, len(rules.backgrounds))],
        background_seed=_below(rng, 2**48),
        noise=_below(rng, len(NOISE_LEVELS)),
        noise_at=(_below(rng, room), _below(rng, room)),
    )


def _below(rng: np.random.Generator, limit: int) -> int:
    return int(rng.random() * limit)  # several times faster than rng.integers


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    return low + _below(rng, high - low + 1)


def _names(rng: np.random.Generator, rules: SceneRules) -> list[Name]:
    """The names of a scene's things in drawing order; with repetition, one kind is repeated."""
    fewest, most = rules.things
    copies = 1
    if most > 1 and rng.random() < rules.repeat:
        copies = _between(rng, *rules.copies)
    total = _between(rng, max(copies, fewest), most)
    kinds = withheld.example(rng, rules.shows)
    while len(kinds) + copies - 1 < total:
        kind = draw_name(rng, rules.nouns)
        if kind not in kinds:
            kinds.append(kind)
    names = kinds + [kinds[_below(rng, len(kinds))]] * (copies - 1)
    for i in range(len(names) - 1, 0, -1):
        j = _below(rng, i + 1)
        names[i], names[j] = names[j], names[i]
    return names


def draw_name(rng: np.random.Generator, nouns: tuple[str, ...] = _NOUNS) -> Name:
    """A random name: one of `nouns` or a coloured shape, equally likely; never a withheld pair."""
    if nouns and rng.random() < 0.5:
        return Name(nouns[_below(rng, len(nouns))])
    while True:
        name = Name(SHAPES[_below(rng, len(SHAPES))], COLORS[_below(rng, len(COLORS))])
        if (name.color, name.noun) not in withheld.PAIRS:
            return name


def _place(rng: np.random.Generator, rules: SceneRules, names: list[Name]) -> list[Placed] | None:
    placed: list[Placed] = []
    smallest, largest = rules.px
    for name in names:
        angle = ANGLES[_below(rng, len(ANGLES))]
        long_side = _between(rng, smallest, largest)
        ratio = aspect(name.noun, angle)
        for attempt in range(4 * _TRIES):
            if attempt and attempt % _TRIES == 0:
                long_side = max(smallest, int(long_side * 0.7))
            width = long_side if ratio >= 1 else max(1, round(long_side * ratio))
            height = long_side if ratio <= 1 else max(1, round(long_side / ratio))
            x = _below(rng, rules.size - width + 1)
            y = _below(rng, rules.size - height + 1)
            if all(_apart(x, y, width, height, other, rules.overlap) for other in placed):
                placed.append(Placed(name, x, y, width, height, angle, _rgb(rng, name)))
                break
        else:
            return None
    return placed


def _apart(x: int, y: int, width: int, height: int, other: Placed, overlap: float) -> bool:
    shared_width = min(x + width, other.x + other.width) - max(x, other.x)
    shared_height = min(y + height, other.y + other.height) - max(y, other.y)
    if shared_width <= 0 or shared_height <= 0:
        return True
    smaller = min(width * height, other.width * other.height)
    return shared_width * shared_height <= overlap * smaller


def _rgb(rng: np.random.Generator, name: Name) -> tuple[int, int, int]:
    if not name.color:
        return 0, 0, 0
    lighter = _between(rng, -_JITTER, _JITTER)
    red, green, blue = (
        min(max(level + lighter + _between(rng, -_TINT, _TINT), DARKEST), LIGHTEST)
        for level in RGB[name.color]
    )
    return red, green, blue
