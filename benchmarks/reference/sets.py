"""The scenes of an evaluation: shipped ones where possible, else newly drawn ones."""

from __future__ import annotations

from edgecap.benchmarks.reference.similarity import Scened
from edgecap.reference.scenes.shipped import SETS, load_set
from edgecap.reference.scenes.splits import scenes, split

SHIPPED_SPLIT, SHIPPED_SCENES = SETS["evaluation"]


def evaluation_scenes(name: str, n: int, seed: int = 0) -> list[Scened]:
    """The first `n` scenes of a split, in order.

    The first scenes of the test split with seed 0 are shipped and need no font; all others are
    drawn. Raises InputError for an unknown split, and where scenes must be
    drawn and the font is missing.
    """
    split(name)
    if name == SHIPPED_SPLIT and seed == 0 and n <= SHIPPED_SCENES:
        return load_set("evaluation", n)
    return list(scenes(name, n, seed))
