"""Images in crops in Node: what Python says on the same engine, token for token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from js_edgecap import Caption
from tiny_bundles import shared_bundle
from tiny_crops import photos

from edgecap.runtime import load


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_bundle(tmp_path_factory, "idefics3", "crops")


@pytest.mark.parametrize("engine", ["onnxruntime-node", "onnxruntime-web"])
def test_captions_are_those_of_python(bundle: Path, caption: Caption, engine: str) -> None:
    python: Any = load(bundle)
    asked: list[tuple[Any, dict[str, Any]]] = [(photo, {}) for photo in [*photos(), photos()[2]]]
    answers = caption(bundle, asked, engine)["answers"]
    expected = python.caption([photo for photo, _ in asked])
    assert len(answers) == len(expected)
    for answer, one in zip(answers, expected, strict=True):
        assert (answer["tokens"], answer["text"]) == (list(one.tokens), one.text)
        assert answer["scores"] == pytest.approx(one.scores, abs=2e-5)
    assert len({one.tokens for one in expected}) > 1


def test_graphs_that_are_not_as_told(bundle: Path, caption: Caption, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["interface"]["dims"]["F"] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert caption(copy, [(photos()[0], {})])["code"] == "bundle.model"
