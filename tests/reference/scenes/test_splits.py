"""Splits: what is withheld from training is shown by its own split and by no other."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from edgecap.core.errors import InputError
from edgecap.reference.scenes import withheld
from edgecap.reference.scenes.backgrounds import HELD_OUT_FAMILIES, TRAINING_FAMILIES
from edgecap.reference.scenes.graph import COLORS, SHAPES, Name, Scene, Thing
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.sample import WINDOW_RULES, SceneRules, sample_drawing
from edgecap.reference.scenes.splits import SPLITS, drawing, scenes


def combinations(scene: Scene) -> set[str]:
    """What a scene shows of the withheld, told without the code under test."""
    found = set()
    nouns = [thing.name.noun for thing in scene.things]
    for thing in scene.things:
        if (thing.name.color, thing.name.noun) in withheld.PAIRS:
            found.add("pair")
        if withheld.PARTNER.get(thing.name.noun) in nouns:
            found.add("cooccurrence")
        x, y = (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2
        if withheld.QUADRANT.get(thing.name.noun) == (x >= 112) + 2 * (y >= 112):
            found.add("quadrant")
    return found


@pytest.mark.parametrize(
    "split", ["train", "val", "test", "calibration", "backgrounds", "phrasing"]
)
def test_withheld_is_never_shown(split: str) -> None:
    for index in range(3000):
        assert combinations(drawing(split, index).scene) == set()


@pytest.mark.parametrize(
    ("split", "kind"),
    [("pairs", "pair"), ("cooccurrence", "cooccurrence"), ("quadrant", "quadrant")],
)
def test_each_withheld_kind_is_in_every_scene_of_its_split(split: str, kind: str) -> None:
    for index in range(600):
        assert combinations(drawing(split, index).scene) == {kind}


def test_everything_withheld_is_tested() -> None:
    """No withheld combination is missing from the split that is there for it."""
    pairs = {
        (thing.name.color, thing.name.noun)
        for index in range(300)
        for thing in drawing("pairs", index).scene.things
    }
    assert pairs >= withheld.PAIRS
    met = set()
    for index in range(2000):
        nouns = {thing.name.noun for thing in drawing("cooccurrence", index).scene.things}
        met |= {noun for noun in nouns if withheld.PARTNER.get(noun) in nouns}
    assert met == set(NOUNS)
    placed = {
        (thing.name.noun, withheld.quadrant(thing.box))
        for index in range(600)
        for thing in drawing("quadrant", index).scene.things
    }
    assert placed >= set(withheld.QUADRANT.items())


def test_training_still_shows_every_colour_and_shape_widely() -> None:
    shown = {
        (thing.name.color, thing.name.noun)
        for index in range(2000)
        for thing in drawing("train", index).scene.things
        if thing.name.color
    }
    assert len(shown) == 48 - len(withheld.PAIRS) and len(withheld.PAIRS) == 5
    assert min(Counter(color for color, _ in shown).values()) >= 5
    assert min(Counter(shape for _, shape in shown).values()) >= 6
    assert {color for color, _ in shown} == set(COLORS)
    assert {shape for _, shape in shown} == set(SHAPES)


def test_windows_withhold_quadrants_of_the_whole_model_input() -> None:
    rng = np.random.default_rng(1)
    rules = WINDOW_RULES[112]
    for origin in ((0, 0), (112, 0), (0, 112), (112, 112), (48, 64)):
        quadrants = set()
        for _ in range(1500):
            scene = sample_drawing(rng, rules, origin).scene
            moved = Scene(
                tuple(
                    Thing(
                        thing.name,
                        (
                            thing.box[0] + origin[0],
                            thing.box[1] + origin[1],
                            thing.box[2] + origin[0],
                            thing.box[3] + origin[1],
                        ),
                    )
                    for thing in scene.things
                )
            )
            assert combinations(moved) == set()
            quadrants |= {withheld.quadrant(thing.box) for thing in moved.things}
        assert len(quadrants) == (4 if origin == (48, 64) else 1)


def test_backgrounds_and_counts_are_their_own() -> None:
    training = {drawing("train", index).background for index in range(200)}
    held_out = {drawing("backgrounds", index).background for index in range(200)}
    assert training == set(TRAINING_FAMILIES)
    assert held_out == set(HELD_OUT_FAMILIES)
    totals = {len(drawing("counts", index).things) for index in range(300)}
    assert totals == {6, 7}
    assert max(len(drawing("train", index).things) for index in range(3000)) == 5


def test_counting_is_learned_evenly() -> None:
    """Two, three, four and five copies are about equally frequent."""
    copies = Counter()
    for index in range(3000):
        names = Counter(thing.name for thing in drawing("train", index).things)
        copies[max(names.values())] += 1
    frequent = [copies[count] for count in (2, 3, 4, 5)]
    assert max(frequent) < 1.5 * min(frequent)


@pytest.mark.parametrize("split", SPLITS)
def test_a_scene_depends_on_split_seed_and_index_alone(split: str) -> None:
    long = list(islice(scenes(split, 1000), 6))
    for (pixels, scene), (again, same) in zip(scenes(split, 6), long, strict=True):
        assert np.array_equal(pixels, again) and scene == same
    assert drawing(split, 5) == drawing(split, 5, seed=0)
    assert drawing(split, 5) != drawing(split, 5, seed=1)


def test_no_two_splits_share_a_scene() -> None:
    drawn = [
        drawing(split, index, seed) for split in SPLITS for index in range(50) for seed in (0, 1)
    ]
    assert len({repr(d) for d in drawn}) == len(drawn)
    assert len({split.stream for split in SPLITS.values()}) == len(SPLITS)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="Splits: train, val, test"):
        scenes("tset", 1)
    with pytest.raises(InputError, match="pair, cooccurrence, quadrant"):
        SceneRules(shows="pairs")


def test_names_are_those_of_the_lexicon() -> None:
    kinds = {thing.name for index in range(3000) for thing in drawing("train", index).scene.things}
    assert kinds == {Name(noun) for noun in NOUNS} | {
        Name(shape, color)
        for shape in SHAPES
        for color in COLORS
        if (color, shape) not in withheld.PAIRS
    }
