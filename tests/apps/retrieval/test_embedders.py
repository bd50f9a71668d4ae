"""`index`, `search` and `classify` with a model that only embeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import shared_bundle

from edgecap.cli.app import main
from edgecap.runtime import load

RNG = np.random.default_rng(4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("images")
    for name in ("a", "b", "c"):
        noise = RNG.integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(noise).resize((60, 40)).save(made / f"{name}.png")
    return made


def test_images_are_found_by_images_and_texts(
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle, index = shared_bundle(tmp_path_factory, "clip", "tiny"), str(tmp_path / "index")
    assert main(["index", str(folder), "-o", index, "--bundle", str(bundle)]) == 0
    assert "names no objects" in capsys.readouterr().err
    assert main(["search", index, str(folder / "b.png"), "--json", "-"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert Path(hits[0]["image"]) == folder / "b.png" and hits[0]["score"] == pytest.approx(1)
    assert main(["search", index, "a dog", "--json", "-"]) == 0
    found = {Path(h["image"]).name: h["score"] for h in json.loads(capsys.readouterr().out)["hits"]}
    captioner, files = load(bundle), sorted(folder.iterdir())
    cosines = captioner.embed_images(files) @ captioner.embed_texts(["a dog"])[0]
    assert [found[file.name] for file in files] == pytest.approx(cosines.tolist(), abs=1e-4)
    labels = ["classify", str(folder / "a.png"), "--bundle", str(bundle), "--labels", "dog,cat"]
    assert main([*labels, "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {label["label"] for label in row["labels"]} == {"dog", "cat"}


def test_a_model_that_only_captions_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = shared_bundle(tmp_path_factory, "blip", "tiny")
    given = ["index", str(folder), "-o", str(tmp_path / "index"), "--bundle", str(bundle)]
    assert main(given) == 2
    assert "[embedding.missing]" in capsys.readouterr().err
    assert not (tmp_path / "index").exists()
