"""Zero-shot questions, and how answers are counted."""

import json

import numpy as np
import oracle
import pytest

from edgecap.apps.retrieval.classify import LabelScore
from edgecap.benchmarks.reference import zero_shot
from edgecap.benchmarks.reference.zero_shot import ABSENT, question
from edgecap.reference.scenes.graph import Name, Scene, Thing
from edgecap.reference.scenes.hard_negatives import names_in
from edgecap.reference.scenes.parse import parse
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.tokens import LANGUAGES

DOG, STAR = Name("dog"), Name("star", "green")
PLACES = [(0.0, 0.0, 40.0, 40.0), (60.0, 0.0, 100.0, 40.0), (0.0, 60.0, 40.0, 100.0)]


def scene(*names: Name) -> Scene:
    return Scene(tuple(Thing(name, box) for name, box in zip(names, PLACES, strict=False)))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_one_label_is_true(lang: str) -> None:
    rng = np.random.default_rng(0)
    for index in range(20):
        shown = names_in(drawing("test", index).scene)
        _, labels = question(drawing("test", index).scene, lang, rng)
        assert len(set(labels)) == ABSENT + 2
        said = [parse(label, lang).statement.mentions[0] for label in labels]
        assert shown[said[0].name] == said[0].count
        assert said[1].name == said[0].name and abs(said[1].count - said[0].count) == 1
        assert not any(one.name in shown for one in said[2:])
        assert {one.count for one in said[2:]} == {said[0].count}  # no label stands out


@pytest.mark.parametrize(
    ("names", "kind"),
    [((DOG,), "alone"), ((DOG, DOG), "alone"), ((DOG, STAR), "part")],
)
def test_what_kind_a_question_is_of(names: tuple[Name, ...], kind: str) -> None:
    assert question(scene(*names), "en", np.random.default_rng(0))[0] == kind


def test_a_group_among_others_asks_for_its_number() -> None:
    asked = {question(scene(DOG, DOG, STAR), "en", np.random.default_rng(i))[0] for i in range(9)}
    assert asked == {"part", "number"}


def test_right_answers_are_counted_by_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chooser that knows of stars, and of nothing in whole images."""

    class Knowing:
        def __init__(self, captioner: object, labels: list[str], whole: bool) -> None:
            knows = [label == "a green star" and not whole for label in labels]
            order = np.argsort(np.array(knows), kind="stable")[:: -1 if not whole else 1]
            self.ranked = [LabelScore(labels[i], 0.0) for i in order]

        def rank(self, images: list[object]) -> list[list[LabelScore]]:
            return [self.ranked for _ in images]

    shown = [(np.zeros((224, 224, 3), np.uint8), scene(STAR, Name("zebra")))] * 8
    monkeypatch.setattr(zero_shot, "ZeroShotClassifier", Knowing)
    monkeypatch.setattr(zero_shot, "load", lambda name, threads: oracle.captioner([]))
    monkeypatch.setattr(zero_shot, "evaluation_scenes", lambda split, n: shown)
    assert zero_shot.main(["--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)["languages"]["en"]
    assert row["asked"] == {"alone": 0, "part": 8, "number": 0, "all": 8}
    assert 0 < row["things"]["part"] < 1 and row["things"]["alone"] is None
    assert row["things"]["all"] == row["things"]["part"]
    assert row["whole"]["part"] < row["things"]["part"]
    assert zero_shot.main([]) == 0
    assert "alone –" in capsys.readouterr().out
