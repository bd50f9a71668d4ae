"""Metrics on captions whose right and wrong parts are known."""

import numpy as np
import pytest

from edgecap.benchmarks.reference.metrics import Ratio, match, score_captions
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Mention, Name, Relation, Scene, Statement, Thing
from edgecap.reference.scenes.resampling import RESAMPLES, draw_weights, interval

DOG, CAT, CAR = Name("dog"), Name("cat"), Name("car")
RED, BLUE = Name("circle", "red"), Name("circle", "blue")
LEFT, MIDDLE, RIGHT = (8.0, 80.0, 48.0, 120.0), (92.0, 80.0, 132.0, 120.0), (168.0, 80.0, 208, 120)
SCENE = Scene((Thing(DOG, LEFT), Thing(RED, MIDDLE), Thing(CAT, RIGHT)))
TRUE = (Mention(DOG, 1, (LEFT,)), Mention(RED, 1, (MIDDLE,)), Mention(CAT, 1, (RIGHT,)))
DOG_LEFT = Relation("left", DOG, (CAT,))


def score(*mentions: Mention, relation: Relation | None = DOG_LEFT, scene: Scene = SCENE) -> dict:
    text = for_language("en").render(Statement(mentions, relation), grounded=True)
    return score_captions([(scene, text)], "en")


def shifted(box: tuple, by: float) -> tuple:
    return box[0] + by, box[1], box[2] + by, box[3]


def test_the_truth_scores_full_marks() -> None:
    assert score(*TRUE) == {
        "n": 1,
        "exact": 1.0,
        "name": 1.0,
        "grounding_50": 1.0,
        "grounding_75": 1.0,
        "miou_named": 1.0,
        "relation": 1.0,
        "count": 1.0,
        "withheld": 1.0,  # one stands in a quadrant where no scene of the training shows it
        "chair_i": 0.0,
        "malformed": 0,
    }


def test_a_wrong_name_is_a_miss_even_where_its_box_is_right() -> None:
    found = score(*TRUE[:2], Mention(CAR, 1, (RIGHT,)))
    assert found["exact"] == 0 and found["count"] == 1
    assert found["name"] == found["grounding_50"] == pytest.approx(2 / 3)
    assert found["chair_i"] == pytest.approx(1 / 3)
    assert found["miou_named"] == 1


def test_a_wrong_colour_is_a_wrong_name() -> None:
    found = score(TRUE[0], Mention(BLUE, 1, (MIDDLE,)), TRUE[2])
    assert found["exact"] == 0 and found["name"] == pytest.approx(2 / 3)
    assert score(TRUE[0], Mention(Name("circle"), 1, (MIDDLE,)), TRUE[2])["exact"] == 0


@pytest.mark.parametrize(
    ("by", "at_50", "at_75"), [(4, 1, 1), (8, 1, 2 / 3), (16, 2 / 3, 2 / 3), (44, 2 / 3, 2 / 3)]
)
def test_boxes_are_judged_by_their_overlap(by: float, at_50: float, at_75: float) -> None:
    """A 40 px box shifted by s overlaps by (40 - s) / (40 + s)."""
    found = score(*TRUE[:2], Mention(CAT, 1, (shifted(RIGHT, -by),)))
    assert found["grounding_50"] == pytest.approx(at_50)
    assert found["grounding_75"] == pytest.approx(at_75)
    assert found["miou_named"] == pytest.approx((2 + max(40 - by, 0) / (40 + by)) / 3)
    assert found["exact"] == found["name"] == 1


def test_a_thing_said_twice_is_found_once() -> None:
    found = score(*TRUE, Mention(DOG, 1, (LEFT,)))
    assert found["name"] == found["grounding_50"] == 1
    assert found["count"] == found["exact"] == 0 and found["chair_i"] == pytest.approx(1 / 4)


def test_two_boxes_on_one_of_two_copies_find_one() -> None:
    scene = Scene((Thing(DOG, LEFT), Thing(DOG, RIGHT)))
    found = score(Mention(DOG, 2, (LEFT, LEFT)), relation=None, scene=scene)
    assert found["name"] == 1 and found["grounding_50"] == 0.5 and found["miou_named"] == 0.5


def test_more_boxes_than_things_said_buy_nothing() -> None:
    text = "A dog<loc_40><loc_40><loc_50><loc_50><loc_02><loc_20><loc_12><loc_30>."
    found = score_captions([(Scene((Thing(DOG, LEFT),)), text)], "en")
    assert found["name"] == 1 and found["grounding_50"] == 0


def test_copies_are_matched_in_the_best_way() -> None:
    # Greedy takes the best pair, 32 / 48, and leaves the others 10 / 70.
    true = [(0.0, 0.0, 40.0, 40.0), (20.0, 0.0, 60.0, 40.0)]
    said = [(12.0, 0.0, 52.0, 40.0), (30.0, 0.0, 70.0, 40.0)]
    assert match(true, said) == [pytest.approx(28 / 52), pytest.approx(30 / 50)]
    assert sorted(match(true, [said[0], (0.0, 50.0, 9.0, 59.0)])) == [0.0, pytest.approx(2 / 3)]
    assert match(true, []) == []


def test_a_babbling_caption_is_scored_in_bounded_time() -> None:
    copies = tuple(Thing(DOG, (8.0 * i, 0.0, 8.0 * i + 24, 24.0)) for i in range(7))
    box = "<loc_00><loc_00><loc_06><loc_06>"
    text = ", ".join([f"seven dogs{box * 7}"] * 10) + "."
    assert score_captions([(Scene(copies), text)], "en")["chair_i"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("relation", "right"),
    [
        (DOG_LEFT, 1),
        (Relation("right", CAT, (RED,)), 1),
        (Relation("between", RED, (CAT, DOG)), 1),
        (Relation("right", DOG, (CAT,)), 0),
        (Relation("between", DOG, (CAT, RED)), 0),
        (Relation("left", DOG, (CAR,)), 0),
        (None, 0),
    ],
)
def test_relations_are_checked_against_the_image(relation: Relation | None, right: int) -> None:
    assert score(*TRUE, relation=relation)["relation"] == right


def test_a_scene_without_a_clear_relation_measures_none() -> None:
    alone = Scene((Thing(DOG, LEFT),))
    found = score(Mention(DOG, 1, (LEFT,)), relation=None, scene=alone)
    assert found["relation"] is None and found["exact"] == 1


def test_what_training_withheld_is_counted_apart() -> None:
    triangle = Name("triangle", "red")  # a pair that no training scene shows
    scene = Scene((Thing(RED, LEFT), Thing(triangle, MIDDLE), Thing(triangle, RIGHT)))
    red, two = Mention(RED, 1, (LEFT,)), Mention(triangle, 2, (MIDDLE, RIGHT))
    one = Mention(triangle, 1, (MIDDLE,))
    found = [score(*said, relation=None, scene=scene) for said in ((red, two), (red, one), (red,))]
    assert [row["withheld"] for row in found] == [1, 0.5, 0]
    alone = Scene((Thing(RED, LEFT),))
    assert score(red, relation=None, scene=alone)["withheld"] is None


def test_malformed_boxes_are_counted() -> None:
    text = "A dog<loc_02><loc_20><loc_12>, a red circle<loc_33><loc_20><loc_23><loc_30> and a cat."
    found = score_captions([(SCENE, text), (SCENE, text)], "en")
    assert found["malformed"] == 4 and found["name"] == 1 and found["grounding_50"] == 0


def test_nothing_understood_is_nothing_right() -> None:
    found = score_captions([(SCENE, "Colourless green ideas sleep furiously.")], "en")
    assert found["name"] == found["exact"] == found["relation"] == found["count"] == 0
    assert found["chair_i"] == 1 and found["miou_named"] is None
    silent = score_captions([(SCENE, "")], "en")
    assert silent["name"] == silent["count"] == 0 and silent["chair_i"] is None


def test_things_that_no_grammar_knows_are_said_and_not_there() -> None:
    text = "A dog, a unicorn and a purple dinosaur."
    found = score_captions([(Scene((Thing(DOG, LEFT),)), text)], "en")
    assert found["name"] == 1 and found["count"] == found["exact"] == 0
    assert found["chair_i"] == pytest.approx(2 / 3)


def test_a_phrase_left_over_is_not_exact() -> None:
    text = for_language("en").render(Statement(TRUE), grounded=True)
    assert score_captions([(SCENE, text)], "en")["exact"] == 1
    assert score_captions([(SCENE, text + " Furious ideas.")], "en")["exact"] == 0


def test_no_scenes_measure_nothing() -> None:
    found = score_captions([], "en")
    assert found["n"] == 0 and found["exact"] is None


def test_the_interval_covers_the_share_and_narrows_with_more_scenes() -> None:
    widths = []
    for n in (40, 1000):
        hits = (np.arange(n) % 4 > 0).astype(float)  # three of four
        ratio = Ratio(hits, np.ones(n))
        low, high = interval(ratio.resampled(draw_weights(n))) or (0, 0)
        assert low < ratio.value() < high
        widths.append(high - low)
    # A share's interval is 2 * 1.96 * sqrt(p (1 - p) / n) wide.
    assert widths == pytest.approx([0.268, 0.0537], rel=0.12)


def test_an_interval_of_something_rare_ignores_draws_that_missed_it() -> None:
    under = np.zeros(20)
    under[0] = 1
    drawn = Ratio(under, under).resampled(draw_weights(20))
    assert 0 < np.isnan(drawn).sum() < RESAMPLES
    assert interval(drawn) == (1.0, 1.0)
    assert interval(np.full(RESAMPLES, np.nan)) is None
