"""Recall of the graph, and what referring expressions ask."""

import json

import numpy as np
import oracle
import pytest

from edgecap.benchmarks import recall
from edgecap.benchmarks.reference import referring
from edgecap.benchmarks.reference.expressions import (
    ambiguous_expressions,
    questions,
    unique_expressions,
)
from edgecap.benchmarks.reference.sets import evaluation_scenes
from edgecap.reference.scenes.graph import Name, Scene, Thing
from edgecap.reference.scenes.parse import parse
from edgecap.reference.scenes.relations import holds
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.tokens import LANGUAGES

THINGS = (
    Thing(Name("square", "red"), (8.0, 100.0, 48.0, 140.0)),
    Thing(Name("circle", "blue"), (88.0, 100.0, 128.0, 140.0)),
    Thing(Name("square", "red"), (168.0, 100.0, 208.0, 140.0)),
)


@pytest.mark.parametrize("kind", ["spread", "clusters"])
def test_the_graph_finds_what_comparing_all_finds(kind: str) -> None:
    row = recall.measure(kind, 2000, queries=30)
    assert row.recall >= 0.99 and row.vectors == 2000


def test_an_index_without_a_graph_compares_all() -> None:
    row = recall.measure("even", 500, queries=5, with_graph=False)
    assert (row.recall, row.megabytes) == (1.0, 0.0)


def test_a_graph_that_finds_too_little_is_measured_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        recall.graph, "nearest", lambda graph, query, count: np.arange(count, dtype=np.int64)
    )
    assert recall.measure("spread", 1000, queries=10).recall < 0.3


def test_what_is_drawn_is_of_norm_1_and_always_the_same() -> None:
    for kind in recall.KINDS:
        a, b = (recall.draw(kind, 50, np.random.default_rng(3)) for _ in range(2))
        assert (a == b).all() and np.linalg.norm(a, axis=1) == pytest.approx(np.ones(50), abs=1e-5)


def test_expressions_of_one_scene() -> None:
    scene = Scene(THINGS)
    assert [e.phrase for e in unique_expressions(scene, "en")] == ["the blue circle"]
    assert [(e.phrase, e.box, e.namesakes) for e in ambiguous_expressions(scene, "en")] == [
        ("the red square to the left of the blue circle", THINGS[0].box, 2),
        ("the red square to the right of the blue circle", THINGS[2].box, 2),
    ]
    (german, _) = ambiguous_expressions(scene, "de")
    assert german.phrase == "das rote Quadrat links vom blauen Kreis"
    (japanese, _) = ambiguous_expressions(scene, "ja")
    assert japanese.phrase == "青い円の左側の赤い正方形"
    assert list(questions(scene, "en")) == []  # which square is right of the circle?


@pytest.mark.parametrize("lang", LANGUAGES)
def test_expressions_can_be_made_in_every_language(lang: str) -> None:
    ambiguous = asked = 0
    for _, scene in evaluation_scenes("test", 60):
        for expression in ambiguous_expressions(scene, lang):
            ambiguous += 1
            assert expression.namesakes > 1
        for true, false in questions(scene, lang):
            asked += 1
            first, second = (parse(text, lang).statement.relation for text in (true, false))
            assert first is not None and holds(scene, first)
            assert second is not None and not holds(scene, second)
    assert ambiguous > 2 and asked > 50


def test_a_preference_for_a_word_answers_half_of_the_questions() -> None:
    asked = [pair for _, scene in evaluation_scenes("test", 20) for pair in questions(scene, "en")]
    told = [parse(true, "en").statement.relation for true, _ in asked]
    assert 2 * sum(relation.kind in ("left", "above") for relation in told) == len(told) > 20


def test_a_model_that_knows_is_measured_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    things = (*THINGS, Thing(Name("star", "green"), (88.0, 8.0, 128.0, 48.0)))
    shown = [(oracle.image(things), Scene(things))]
    monkeypatch.setattr(referring, "load", lambda name, threads: oracle.captioner(things))
    monkeypatch.setattr(referring, "evaluation_scenes", lambda split, n: shown)
    assert referring.main(["--lang", "en", "--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)["languages"]["en"]
    assert (row["unique"], row["ambiguous"], row["relation"]) == (1, 1, 1)
    assert (row["ambiguous_named"], row["ambiguous_floor"]) == (1, 0.5)
    assert row["asked"] == {"unique": 2, "unseen": 1, "ambiguous": 2, "relation": 2}
    assert [row[key] for key in ("seen", "unseen", "above_threshold", "implausible")] == [
        1,
        1,
        1,
        1,
    ]
    assert referring.main(["--lang", "en", "--only", "ambiguous", "--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)["languages"]["en"]
    assert row["asked"] == {"unique": 0, "unseen": 0, "ambiguous": 2, "relation": 0}
    assert row["ambiguous"] == 1 and row["unique"] is row["relation"] is None
    assert referring.main(["--lang", "en"]) == 0
    assert "ambiguous 100.0" in capsys.readouterr().out


def test_namesakes_have_enough_phrases_to_measure() -> None:
    drawn = [drawing("namesakes", i).scene for i in range(256)]
    assert sum(len(list(ambiguous_expressions(scene, "en"))) for scene in drawn) > 180


def test_an_unknown_language_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert referring.main(["--lang", "xx"]) == 2
    assert "language.unknown" in capsys.readouterr().err
