"""Every verb runs on every kind of artifact: what it needs is the contract, and no format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_formats import KINDS, write
from tiny_onnx import image

from edgecap.apps.explain import CaptionTrace
from edgecap.benchmarks.reference.clear_phrases import Phrase
from edgecap.cli.app import main
from edgecap.reference.scenes.graph import Scene


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("images")
    for i in range(2):
        (place / f"{i}.png").write_bytes(image(i, 40, 30))
    return place


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(request.param, tmp_path_factory.mktemp("models")))


def finite(text: str) -> Any:
    """JSON, in which NaN and infinity are no numbers."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in {text}"))


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("caption", "IMAGE --json - --max-length 9 -b MODEL"),
        ("ground", "IMAGE dog --json - -b MODEL"),
        ("rank", "IMAGE dog cat --json - -b MODEL"),
        ("classify", "IMAGE --labels dog,cat --json - -b MODEL"),
    ],
)
def test_a_verb_answers_in_finite_numbers(
    verb: str,
    arguments: str,
    model: str,
    images: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"MODEL": model, "IMAGE": str(images / "0.png")}
    asked = [places.get(argument, argument) for argument in arguments.split()]
    assert main([verb, *asked]) == 0
    assert finite(capsys.readouterr().out)


def test_images_are_indexed_and_found(
    model: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = str(tmp_path / "index")
    assert main(["index", str(images), "-o", index, "-b", model]) == 0
    capsys.readouterr()
    for query in ("dog", str(images / "1.png")):
        assert main(["search", index, query, "--json", "-"]) == 0
        assert len(finite(capsys.readouterr().out)["hits"]) == 2


def test_maps_are_measured(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def first_word(told: CaptionTrace, scene: Scene, *_: object) -> list[Phrase]:
        return [Phrase(0, 1, scene.things[0].box)]  # random weights name nothing of themselves

    monkeypatch.setattr("edgecap.benchmarks.reference.faithfulness.clear_phrases", first_word)
    asked = ["faithfulness", model, "--n", "2", "--maps", "attention,occlusion", "--json", "-"]
    assert main(asked) == 0
    for row in finite(capsys.readouterr().out)["maps"]:
        values = row["values"]
        assert values.pop("random_weights") is None or model.endswith(".safetensors")
        assert row["phrases"] == 2 and None not in values.values()


def test_words_are_explained(
    model: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    kinds = "attention,occlusion"
    kinds += ",gradient,layers" if model.endswith(".safetensors") else ""
    asked = ["explain", str(images / "0.png"), "-o", str(page), "-b", model, "--maps", kinds]
    assert main(asked) == 0
    assert "maps of 0 words" not in capsys.readouterr().err
    written = page.read_text(encoding="utf-8")
    assert "NaN" not in written and "Infinity" not in written
    assert all(kind in written for kind in kinds.split(","))
