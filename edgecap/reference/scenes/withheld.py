"""Combinations withheld from training; each is shown only by the split named after it.

Defined by fixed rules, so that they are the same on every machine and version of NumPy:
colour-and-shape pairs, pairs of nouns in one image, and nouns in a quadrant of the model input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgecap.reference.scenes.graph import Box, Name, Thing
from edgecap.reference.scenes.nouns import NOUNS

KINDS = ("pair", "cooccurrence", "quadrant")
_SIDE = 224  # px, of the model input

# 5 of the 48; no colour twice and no shape twice.
PAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "triangle"),
        ("blue", "ring"),
        ("yellow", "star"),
        ("purple", "square"),
        ("green", "diamond"),
    }
)

_nouns = tuple(NOUNS)
_half = len(_nouns) // 2
# Each noun has one partner that never appears with it in training, half the list away.
PARTNER: dict[str, str] = {
    **{_nouns[i]: _nouns[i + _half] for i in range(_half)},
    **{_nouns[i + _half]: _nouns[i] for i in range(_half)},
}
# Every eighth noun never has its centre in one quadrant: 0 top left, 1 top right, 2 and 3 below.
QUADRANT: dict[str, int] = {noun: i % 4 for i, noun in enumerate(_nouns[::8])}


def quadrant(box: Box, origin: tuple[int, int] = (0, 0)) -> int:
    """The quadrant of the 224 px model input in which a box's centre lies."""
    x = origin[0] + (box[0] + box[2]) / 2
    y = origin[1] + (box[1] + box[3]) / 2
    return (1 if x >= _SIDE / 2 else 0) + (2 if y >= _SIDE / 2 else 0)


def shown(things: Sequence[Thing], origin: tuple[int, int] = (0, 0)) -> set[str]:
    """Which kinds of withheld combinations a scene shows."""
    return {kind for _, kind in _taking_part(things, origin)}


def taking_part(things: Sequence[Thing]) -> tuple[Thing, ...]:
    """The things of a full-size scene that take part in withheld combinations, each once."""
    return tuple(dict.fromkeys(thing for thing, _ in _taking_part(things, (0, 0))))


def _taking_part(things: Sequence[Thing], origin: tuple[int, int]) -> Iterator[tuple[Thing, str]]:
    nouns = {thing.name.noun for thing in things}
    for thing in things:
        name = thing.name
        if (name.color, name.noun) in PAIRS:
            yield thing, "pair"
        if PARTNER.get(name.noun) in nouns:
            yield thing, "cooccurrence"
        if QUADRANT.get(name.noun) == quadrant(thing.box, origin):
            yield thing, "quadrant"


def example(rng: np.random.Generator, kind: str) -> list[Name]:
    """Names that make a scene show a withheld combination; empty for kind ""."""
    if kind == "pair":
        color, shape = sorted(PAIRS)[int(rng.integers(len(PAIRS)))]
        return [Name(shape, color)]
    if kind == "cooccurrence":
        noun = _nouns[int(rng.integers(len(_nouns)))]
        return [Name(noun), Name(PARTNER[noun])]
    if kind == "quadrant":
        return [Name(sorted(QUADRANT)[int(rng.integers(len(QUADRANT)))])]
    return []
