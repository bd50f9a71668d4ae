"""What images, embeddings and claims are asked in training, and what is true of the answers."""

from __future__ import annotations

import pytest
import torch

from edgecap.reference.scenes.describe import mentions
from edgecap.reference.scenes.graph import Name, Scene, Thing
from edgecap.reference.scenes.relations import relations
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.train.hints import (
    AXES,
    KINDS,
    NAME_IDS,
    EmbeddingHints,
    namesakes,
    patch_hints,
    question,
    thing_positions,
)
from edgecap.reference.train.losses import question_loss


def test_embeddings_are_asked_where_things_are() -> None:
    dog, shape = Name("dog"), Name("circle", "red")
    shown = Scene(
        (
            Thing(dog, (0.0, 112.0, 112.0, 224.0)),
            Thing(shape, (0.0, 0.0, 30.0, 30.0)),
            Thing(shape, (60.0, 0.0, 90.0, 30.0)),  # no name of one thing: not asked
        )
    )
    positions = torch.from_numpy(thing_positions(shown))[None]  # [Q,K,4]
    larger = 2 * (112 / ((112 + 30 + 30) / 3) - 1)  # in halves of the mean
    assert positions[0, 0].tolist() == pytest.approx([NAME_IDS[dog], -0.5, 0.5, larger])
    assert (positions[0, 1:, 0] == -1).all()
    hints = EmbeddingHints(4)
    with torch.no_grad():
        hints.where.weight.zero_()
        hints.where.weight[NAME_IDS[dog], 0] = -0.25  # centre x, of the embedding's first number
    told = hints(torch.tensor([[1.0, 0, 0, 0]]), positions)  # scaled by 2
    torch.testing.assert_close(told, torch.tensor(0.5**2 + larger**2))


def test_a_claim_is_true_where_its_question_has_an_answer_above_zero() -> None:
    numbers = 3 * len(NAME_IDS)
    hints = EmbeddingHints(numbers)
    with torch.no_grad():  # an embedding that says where each thing is, one number for each
        hints.where.weight.copy_(torch.eye(numbers).view(len(NAME_IDS), -1))
    asked = 0
    for index in range(60):
        shown = drawing("val", index).scene
        embedding = torch.zeros(numbers)
        for number, *place in thing_positions(shown):
            if number >= 0:
                embedding[3 * int(number) : 3 * int(number) + 3] = torch.tensor(place)
        for relation in relations(shown):
            row = torch.tensor(question(relation))
            assert (row[0] >= 0) == (relation.kind in AXES)
            if relation.kind in AXES:
                asked += 1
                assert hints.direction(row[None])[0] @ embedding > 0
    assert asked > 100


def test_what_parts_twins_turns_towards_the_question() -> None:
    claims = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])  # [2C,E]
    directions = torch.tensor([[1.0, -1.0], [-3.0, 3.0]])  # [C,E]
    for row, far in ((0, 0.0), (1, 2.0)):
        asked = torch.arange(2) == row
        torch.testing.assert_close(question_loss(claims, directions, asked), torch.tensor(far))


def test_hints_say_what_covers_each_patch() -> None:
    things = (
        Thing(Name("circle", "red"), (0.0, 0.0, 40.0, 32.0)),
        Thing(Name("dog"), (24.0, 16.0, 48.0, 48.0)),  # on top
        Thing(Name("bee"), (100.0, 100.0, 106.0, 106.0)),  # smaller than a patch
    )
    hints = patch_hints(Scene(things, 112), origin=(16, 32)).reshape(7, 7, -1)
    kinds = {kind: hints[..., 0] == number for kind, number in KINDS.items()}
    assert kinds["circle"].sum() == 4 and kinds["circle"][:2, :2].all()
    assert kinds["dog"][1:3, 2].all() and hints[2, 2].tolist()[1:6] == [-1, 10, 12, 16, 20]
    assert kinds["bee"].sum() == 1 and kinds["bee"][6, 6]
    assert (hints[hints[..., 0] == 0][:, 1:] == -1).all()
    # Others to the left, right, above, below, smaller, bigger.
    assert hints[0, 0, 6:12].tolist() == [0, 2, 0, 2, 2, 0]
    assert hints[2, 2, 6:12].tolist() == [1, 1, 1, 1, 1, 1]
    assert hints[6, 6, 6:12].tolist() == [2, 0, 2, 0, 0, 2]
    assert (hints[..., 12:] <= 0).all()  # no two are alike


def test_namesakes_are_counted_in_the_order_in_which_a_list_tells_them() -> None:
    star, dog = Name("star", "red"), Name("dog")
    things = (
        Thing(star, (100.0, 0.0, 130.0, 30.0)),
        Thing(dog, (50.0, 0.0, 80.0, 30.0)),
        Thing(star, (10.0, 60.0, 40.0, 90.0)),
        Thing(star, (10.0, 20.0, 40.0, 50.0)),  # as far left, and higher
        Thing(Name("star", "blue"), (0.0, 0.0, 5.0, 5.0)),
    )
    assert namesakes(Scene(things)).tolist() == [[2, 0], [0, 0], [1, 1], [0, 2], [0, 0]]


def test_hints_say_how_many_of_its_name_a_list_tells_before_and_after_a_thing() -> None:
    for index in range(200):
        scene = drawing("val", index).scene
        before_and_after = dict(zip([t.box for t in scene.things], namesakes(scene), strict=True))
        for mention in mentions(scene):
            for place, box in enumerate(mention.boxes):
                assert before_and_after[box].tolist() == [place, mention.count - 1 - place]
