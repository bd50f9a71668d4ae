"""Searching by name, measured with a captioner that knows what images show."""

import json

import oracle
import pytest

from edgecap.benchmarks.reference import name_search
from edgecap.reference.scenes.graph import Name, Scene, Thing

RED, BLUE, GREEN = Name("square", "red"), Name("circle", "blue"), Name("star", "green")
THINGS = (
    Thing(RED, (8.0, 100.0, 48.0, 140.0)),
    Thing(BLUE, (88.0, 100.0, 128.0, 140.0)),
    Thing(GREEN, (88.0, 8.0, 128.0, 48.0)),
)


def test_a_model_that_knows_finds_things_and_not_in_whole_images(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two red ones alone look more like "a red square" than one beside blue and green."""
    twin = Thing(RED, (168.0, 100.0, 208.0, 140.0))
    groups = (THINGS, (THINGS[0], twin), THINGS[1:])
    shown = [(oracle.image(things), Scene(things)) for things in groups]
    knowing = oracle.captioner((*THINGS, twin))
    monkeypatch.setattr(name_search, "load", lambda name, threads: knowing)
    monkeypatch.setattr(name_search, "evaluation_scenes", lambda split, n: shown)
    assert name_search.main(["--lang", "en", "--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["n"] == 3 and row["things"] == {"en": 1.0}
    assert row["whole"]["en"] == pytest.approx(2 / 3)
    assert row["chance"]["en"] == pytest.approx((1 + 2 + 2) / 9)
    assert name_search.main(["--lang", "en"]) == 0
    assert "things  en 1.000" in capsys.readouterr().out


def test_a_group_is_no_name_to_search_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hard_negatives = (THINGS[0], Thing(RED, (168.0, 100.0, 208.0, 140.0)))
    captioner = oracle.captioner((*THINGS, hard_negatives[1]))
    scenes = [(oracle.image(one), Scene(one)) for one in (hard_negatives, THINGS[:2])]
    row = name_search.measure(captioner, scenes, ["en"])
    assert row["chance"]["en"] == 0.5  # red and blue, each in one of two
    assert row["things"]["en"] == 1.0
