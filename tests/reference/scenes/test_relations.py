"""Relations on scenes built by hand, and statements of drawn scenes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgecap.core.errors import InputError
from edgecap.reference.scenes.describe import main_relation, mentions, statement
from edgecap.reference.scenes.graph import RELATIONS, Mention, Name, Relation, Scene, Thing
from edgecap.reference.scenes.relations import holds, relations, unique
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.tokens import STYLES

DOG, CAT, CAR = Name("dog"), Name("cat"), Name("car")
RED, BLUE = Name("circle", "red"), Name("circle", "blue")


def scene(*things: tuple[Name, float, float, float]) -> Scene:
    """Squares: name, centre x, centre y, side; px."""
    return Scene(
        tuple(
            Thing(name, (x - side / 2, y - side / 2, x + side / 2, y + side / 2))
            for name, x, y, side in things
        )
    )


def test_side_by_side() -> None:
    found = relations(scene((DOG, 50, 100, 40), (CAT, 150, 110, 40)))
    assert found == [Relation("left", DOG, (CAT,)), Relation("right", CAT, (DOG,))]


def test_one_above_the_other() -> None:
    found = relations(scene((DOG, 100, 50, 40), (CAT, 110, 150, 40)))
    assert found == [Relation("above", DOG, (CAT,)), Relation("below", CAT, (DOG,))]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (119, 100),  # less than half an object apart
        (150, 148),  # nearly diagonal
    ],
)
def test_nothing_is_said_near_a_boundary(x: float, y: float) -> None:
    assert relations(scene((DOG, 100, 100, 40), (CAT, x, y, 40))) == []


def test_half_an_object_and_more_is_said() -> None:
    near = relations(scene((DOG, 100, 100, 40), (CAT, 121, 100, 40)))
    assert Relation("left", DOG, (CAT,)) in near


def test_between_is_said_of_the_middle_one_only() -> None:
    found = relations(scene((DOG, 100, 100, 40), (CAT, 30, 90, 40), (CAR, 190, 110, 40)))
    between = [relation for relation in found if relation.kind == "between"]
    assert between == [Relation("between", DOG, (CAT, CAR))]
    beside = relations(scene((DOG, 100, 200, 40), (CAT, 30, 90, 40), (CAR, 190, 110, 40)))
    assert not [relation for relation in beside if relation.kind == "between"]


def test_extremes_need_a_clear_margin() -> None:
    clear = relations(scene((DOG, 60, 60, 60), (CAT, 160, 160, 50)))
    assert {"biggest", "smallest"} & {relation.kind for relation in clear} == {
        "biggest",
        "smallest",
    }
    close = relations(scene((DOG, 60, 60, 55), (CAT, 160, 160, 50)))
    assert not {"biggest", "smallest"} & {relation.kind for relation in close}
    assert relations(scene((DOG, 60, 60, 60))) == []


def test_repeated_things_are_not_related_but_count_as_rivals() -> None:
    drawn = scene((DOG, 40, 40, 60), (DOG, 180, 180, 60), (CAT, 40, 180, 30))
    assert relations(drawn) == [Relation("smallest", CAT)]
    assert not holds(drawn, Relation("biggest", DOG))
    assert not holds(drawn, Relation("left", CAT, (DOG,)))


def test_statements_are_judged_by_the_boundary_itself() -> None:
    drawn = scene((DOG, 100, 100, 40), (CAT, 105, 148, 41))
    assert relations(drawn) == [Relation("above", DOG, (CAT,)), Relation("below", CAT, (DOG,))]
    assert holds(drawn, Relation("left", DOG, (CAT,)))
    assert holds(drawn, Relation("right", CAT, (DOG,)))
    assert holds(drawn, Relation("biggest", CAT)) and holds(drawn, Relation("smallest", DOG))
    for wrong in (
        Relation("right", DOG, (CAT,)),
        Relation("below", DOG, (CAT,)),
        Relation("biggest", DOG),
        Relation("smallest", CAT),
        Relation("left", DOG, (CAR,)),
        Relation("left", CAR, (DOG,)),
        Relation("left", DOG, (DOG,)),
        Relation("left", DOG, ()),
        Relation("between", DOG, (CAT,)),
        Relation("behind", DOG, (CAT,)),
    ):
        assert not holds(drawn, wrong), wrong


def test_between_holds_in_either_order() -> None:
    drawn = scene((CAT, 30, 90, 40), (DOG, 100, 140, 40), (CAR, 190, 110, 40))
    assert holds(drawn, Relation("between", DOG, (CAT, CAR)))
    assert holds(drawn, Relation("between", DOG, (CAR, CAT)))
    assert not holds(drawn, Relation("between", CAT, (DOG, CAR)))


def test_partial_names_must_fit_one_thing() -> None:
    drawn = scene((RED, 40, 40, 40), (DOG, 180, 40, 40))
    assert holds(drawn, Relation("left", Name("circle"), (DOG,)))
    assert holds(drawn, Relation("left", Name("", "red"), (DOG,)))
    two = scene((RED, 40, 40, 40), (BLUE, 60, 140, 40), (DOG, 180, 40, 40))
    assert not holds(two, Relation("left", Name("circle"), (DOG,)))


def test_what_is_said_of_drawn_scenes_holds_and_its_opposite_does_not() -> None:
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    kinds = set()
    for index in range(1000):
        drawn = drawing("val", index).scene
        for relation in relations(drawn):
            kinds.add(relation.kind)
            assert holds(drawn, relation)
            if relation.kind in opposite:
                turned = Relation(opposite[relation.kind], relation.subject, relation.objects)
                assert not holds(drawn, turned)
    assert kinds == set(RELATIONS)


def test_mentions_go_from_left_to_right_in_groups() -> None:
    drawn = scene((DOG, 180, 100, 20), (RED, 100, 50, 20), (DOG, 30, 60, 20), (BLUE, 60, 90, 20))
    assert mentions(drawn) == (
        Mention(DOG, 2, ((20, 50, 40, 70), (170, 90, 190, 110))),
        Mention(BLUE, 1, ((50, 80, 70, 100),)),
        Mention(RED, 1, ((90, 40, 110, 60),)),
    )
    assert [(m.name, m.count) for m in mentions(drawn, "shape")] == [(DOG, 2), (Name("circle"), 2)]
    assert [(m.name, m.count) for m in mentions(drawn, "color")] == [
        (DOG, 2),
        (Name("", "blue"), 1),
        (Name("", "red"), 1),
    ]


def test_styles_say_what_they_should() -> None:
    drawn = scene((DOG, 50, 100, 40), (RED, 150, 110, 40))
    rng = np.random.default_rng(0)
    texts = {style: statement(drawn, rng, style) for style in STYLES}
    assert texts["grounded"].relation is not None and texts["plain"].relation is not None
    assert all(mention.boxes for mention in texts["grounded"].mentions)
    assert [m.boxes for m in texts["plain"].mentions] == [(), ()]
    assert texts["relate"].mentions == () and texts["relate"].relation is not None
    assert texts["color"].mentions[1].name == Name("", "red") and texts["color"].relation is None
    assert texts["shape"].mentions[1].name == Name("circle") and texts["shape"].relation is None
    alone = statement(scene((DOG, 50, 100, 40)), rng, "relate")
    assert alone.relation is None and alone.mentions == (Mention(DOG, 1),)
    with pytest.raises(InputError, match="grounded, plain, relate"):
        statement(drawn, rng, "poem")


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        (((DOG, 150, 100, 56), (CAT, 50, 100, 40)), Relation("right", DOG, (CAT,))),
        # Animals before things and things before shapes, wherever they stand.
        (((RED, 50, 100, 40), (DOG, 150, 100, 40)), Relation("right", DOG, (RED,))),
        (((CAR, 100, 50, 40), (DOG, 100, 150, 40)), Relation("below", DOG, (CAR,))),
        (((BLUE, 50, 100, 40), (RED, 150, 100, 40)), Relation("right", RED, (BLUE,))),
        # Near a diagonal nothing is clear, and what is told is true all the same.
        (
            ((DOG, 40, 40, 40), (CAT, 90, 92, 40), (CAR, 40, 190, 40)),
            Relation("above", DOG, (CAT,)),
        ),
        # One name alone is unique, and its thing is clearly the smallest.
        (((DOG, 50, 100, 40), (CAT, 150, 90, 60), (CAT, 100, 30, 60)), Relation("smallest", DOG)),
        # Bigger, but not clearly: told, and no question of a metric.
        (((DOG, 50, 100, 65), (CAT, 150, 90, 60), (CAT, 100, 30, 60)), Relation("biggest", DOG)),
        (((DOG, 50, 100, 62), (CAT, 150, 90, 60), (CAT, 100, 30, 60)), None),
        (((DOG, 50, 100, 40),), None),
        (((DOG, 50, 100, 40), (DOG, 150, 100, 40)), None),
    ],
)
def test_what_is_worth_telling(
    things: tuple[tuple[Name, float, float, float], ...], expected: Relation | None
) -> None:
    assert main_relation(scene(*things)) == expected
    assert main_relation(scene(*reversed(things))) == expected
    assert statement(scene(*things), np.random.default_rng(0), "grounded").relation == expected


def test_a_grounded_caption_tells_a_true_relation_wherever_one_can_be_told() -> None:
    kinds = set()
    for index in range(500):
        drawn = drawing("val", index).scene
        expected = main_relation(drawn)
        if expected is None:
            assert len(unique(drawn)) < 2 and not relations(drawn)
        else:
            kinds.add(expected.kind)
            assert holds(drawn, expected)
    assert kinds == {"left", "right", "above", "below", "biggest", "smallest"}


def test_kinds_of_relations_are_chosen_evenly() -> None:
    drawn = scene((DOG, 30, 100, 60), (CAT, 110, 100, 40), (CAR, 190, 100, 30))
    rng = np.random.default_rng(0)
    chosen = Counter()
    for _ in range(1000):
        relation = statement(drawn, rng, "relate").relation
        assert relation is not None
        chosen[relation.kind] += 1
    assert set(chosen) == {"left", "right", "between", "biggest", "smallest"}
    assert min(chosen.values()) > 150
