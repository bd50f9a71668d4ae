"""False hard_negatives say something false with the words of the truth."""

import numpy as np
import pytest
from scripted import gallery

from edgecap.reference.scenes.describe import statement
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Mention, Name, Relation, Scene, Statement, Thing
from edgecap.reference.scenes.hard_negatives import hard_negatives, is_true, names_of

DOG, CAT = Name("dog"), Name("cat")
RED, BLUE = Name("circle", "red"), Name("square", "blue")


def scene(*names: Name) -> Scene:
    boxes = [(60.0 * i, 50.0, 60.0 * i + 20 + 8 * i, 70.0 + 8 * i) for i in range(len(names))]
    return Scene(tuple(Thing(name, box) for name, box in zip(names, boxes, strict=True)))


@pytest.mark.parametrize(
    ("names", "said", "expected"),
    [
        (
            (RED, BLUE),
            Statement((Mention(RED, 1), Mention(BLUE, 1))),
            ["A blue circle and a red square."],
        ),
        (
            (DOG, DOG, CAT),
            Statement((Mention(DOG, 2), Mention(CAT, 1))),
            ["Two cats and a dog."],
        ),
        (
            (DOG, CAT),
            Statement((Mention(DOG, 1), Mention(CAT, 1)), Relation("left", DOG, (CAT,))),
            ["A dog and a cat. The dog is to the right of the cat."],
        ),
        (
            (DOG, RED, CAT),
            Statement(relation=Relation("between", RED, (DOG, CAT))),
            ["The dog is between the red circle and the cat."],
        ),
        (
            (DOG, CAT),
            Statement(relation=Relation("biggest", CAT)),
            ["The cat is the smallest object."],
        ),
        ((DOG,), Statement((Mention(DOG, 1),)), []),
        # Swapping would say "a blue circle" twice, which no true caption does.
        (
            (RED, Name("circle", "blue"), BLUE),
            Statement((Mention(RED, 1), Mention(Name("circle", "blue"), 1), Mention(BLUE, 1))),
            [],
        ),
    ],
)
def test_each_kind_of_twin(names: tuple[Name, ...], said: Statement, expected: list[str]) -> None:
    grammar = for_language("en")
    assert [grammar.render(twin) for twin in hard_negatives(scene(*names), said)] == expected


def test_twins_are_false_and_made_of_the_same_parts() -> None:
    made = 0
    for i, (_, shown) in enumerate(gallery()):
        said = statement(shown, np.random.default_rng(i), "plain")
        assert is_true(shown, said)
        for twin in hard_negatives(shown, said):
            made += 1
            assert not is_true(shown, twin)
            assert twin != said
            assert names_of(twin).total() == names_of(said).total()
            words = sorted(word for m in twin.mentions for word in (m.name.noun, m.name.color))
            assert words == sorted(w for m in said.mentions for w in (m.name.noun, m.name.color))
    assert made > 15
