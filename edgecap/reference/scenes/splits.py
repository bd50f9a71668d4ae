"""Named splits: what each shows, and a random stream that no other split uses.

Scene i of a split depends only on the split, the seed and i.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgecap.core.errors import InputError
from edgecap.reference.scenes.backgrounds import HELD_OUT_FAMILIES
from edgecap.reference.scenes.graph import Scene
from edgecap.reference.scenes.render import render
from edgecap.reference.scenes.sample import Drawing, SceneRules, sample_drawing


@dataclass(frozen=True)
class Split:
    """How a split's scenes are drawn. `stream` is part of every seed, so splits never overlap."""

    stream: int
    shows: str  # in words
    rules: SceneRules = SceneRules()
    held_out_phrasing: bool = False


SPLITS: dict[str, Split] = {
    "train": Split(1, "nothing withheld"),
    "val": Split(2, "like train, for choices made during training"),
    "test": Split(3, "like train, for the figures reported and for nothing else"),
    "calibration": Split(4, "like train, for quantisation"),
    "pairs": Split(5, "a colour on a shape never seen in it", SceneRules(shows="pair")),
    "cooccurrence": Split(
        6,
        "two objects never seen together",
        SceneRules(things=(2, 5), copies=(2, 4), shows="cooccurrence"),
    ),
    "counts": Split(
        7, "six or seven things", SceneRules(things=(6, 7), px=(24, 72), copies=(6, 7), repeat=0.5)
    ),
    "backgrounds": Split(
        8, "backgrounds of families never seen", SceneRules(backgrounds=HELD_OUT_FAMILIES)
    ),
    "phrasing": Split(9, "sentences worded as never seen", held_out_phrasing=True),
    "quadrant": Split(10, "an object in a quarter never seen there", SceneRules(shows="quadrant")),
    # Of the rules tried, these give the most phrases that need a relation: 0.8 a scene.
    "namesakes": Split(
        11,
        "five things, two of which share a name",
        SceneRules(things=(5, 5), px=(24, 80), copies=(2, 2), repeat=1.0),
    ),
    "gate": Split(12, "like train, for what decides: the parity gate, compare, forgetting"),
}


def split(name: str) -> Split:
    """The split called `name`; InputError for an unknown one."""
    if name not in SPLITS:
        raise InputError(
            "scenes.split", f"There is no split {name!r}.", f"Splits: {', '.join(SPLITS)}."
        )
    return SPLITS[name]


def generator(name: str, index: int, seed: int = 0) -> np.random.Generator:
    """The random generator of scene `index` of a split."""
    return np.random.default_rng((split(name).stream, seed, index))


def drawing(name: str, index: int, seed: int = 0) -> Drawing:
    """Scene `index` of a split, not yet rendered."""
    return sample_drawing(generator(name, index, seed), split(name).rules)


def scenes(name: str, n: int, seed: int = 0) -> Iterator[tuple[np.ndarray, Scene]]:
    """The first n scenes of a split: image uint8 [224, 224, 3] and what is in it."""
    split(name)
    return _scenes(name, n, seed)


def _scenes(name: str, n: int, seed: int) -> Iterator[tuple[np.ndarray, Scene]]:
    for index in range(n):
        drawn = drawing(name, index, seed)
        yield render(drawn), drawn.scene
