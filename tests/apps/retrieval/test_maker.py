"""An index is searched by the weights that made it and by no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from schema1 import into_schema1
from tiny_onnx import images

from edgecap.apps.retrieval import open_index, probes, update
from edgecap.apps.retrieval.manifest import MANIFEST
from edgecap.bundle.io import finalize, open_bundle
from edgecap.core.errors import BundleError
from edgecap.models.loading import load
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model import weights
from edgecap.reference.model.captioner import CaptionModel
from edgecap.runtime import Captioner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return images(tmp_path / "images", 2)


def refuses(index: Path, captioner: Captioner) -> str:
    with pytest.raises(BundleError) as caught:
        open_index(index).check(captioner)
    return caught.value.code


def nudged(path: Path, by: float) -> Captioner:
    """Tiny PyTorch weights, moved a little from where seed 0 puts them."""
    torch.manual_seed(0)
    network = CaptionModel(CaptionerConfig(width=16, layers=1, heads=1, embedding=8))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * parameter.std(unbiased=False) * torch.randn_like(parameter))
    weights.save(network, path, {})
    return load(path)


def forget_weights(captioner: Captioner) -> None:
    model = replace(captioner.manifest.model, weights=None)
    captioner.manifest = replace(captioner.manifest, model=model)


def test_a_step_of_training_makes_other_weights(folder: Path, tmp_path: Path) -> None:
    first, later = (nudged(tmp_path / f"{by}.safetensors", by) for by in (0, 0.001))
    update(folder, tmp_path / "index", first, "x")
    index = open_index(tmp_path / "index")
    index.check(first)
    assert index.manifest.model.weights == first.weights != later.weights
    assert agreement(first, later) > probes.CLOSE
    assert refuses(tmp_path / "index", later) == "index.other_model"
    forget_weights(later)  # as of an old float bundle: nothing but its images tells it apart
    index.check(later)


def test_a_float_bundle_tells_its_weights(folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """Images would let these through: the model is the same to the last bit."""
    index, manifest = tmp_path / "index", open_bundle(tiny_bundle).manifest

    def made_from(sha256: str | None) -> Captioner:
        model = replace(manifest.model, weights=sha256)
        finalize(tiny_bundle, replace(manifest, model=model))
        return load(tiny_bundle)

    update(folder, index, made_from("a" * 64), "x")
    open_index(index).check(made_from("a" * 64))
    assert refuses(index, made_from("b" * 64)) == "index.other_model"
    open_index(index).check(made_from(None))  # an old bundle, known by its images


def test_where_weights_are_not_known_images_tell_stages_of_a_training_apart(
    folder: Path, tmp_path: Path
) -> None:
    first, later = (nudged(tmp_path / f"{by}.safetensors", by) for by in (0, 0.1))
    assert 0.97 < agreement(first, later) < probes.CLOSE
    forget_weights(first)
    update(folder, tmp_path / "index", first, "x")
    assert refuses(tmp_path / "index", later) == "index.other_model"


def agreement(a: Captioner, b: Captioner) -> float:
    return float((probes.probe(a) * probes.probe(b)).sum(1).min())


def test_an_index_that_does_not_say_its_weights_is_read(
    folder: Path, tiny_bundle_made: Path, tmp_path: Path
) -> None:
    """As edgecap wrote them before it recorded any."""
    made, captioner = tmp_path / "index", load(tiny_bundle_made)
    update(folder, made, captioner, "x")
    value = json.loads((made / MANIFEST).read_text())
    del value["model"]["weights"]
    (made / MANIFEST).write_text(json.dumps(value))
    open_index(made).check(captioner)
    value["model"]["weights"] = "S"
    (made / MANIFEST).write_text(json.dumps(value))
    assert refuses(made, captioner) == "index.manifest"


def test_an_old_int8_bundle_knows_its_weights_by_its_plan(tiny_bundle: Path) -> None:
    manifest = open_bundle(into_schema1(tiny_bundle)).manifest
    assert load(tiny_bundle).weights is None
    for told, known in (("ab" * 32, "ab" * 32), ("S", None), (3, None)):
        (tiny_bundle / "plan.json").write_text(json.dumps({"weights": told}))
        finalize(tiny_bundle, replace(manifest, plan={"file": "plan.json"}))
        assert load(tiny_bundle).weights == known
    finalize(tiny_bundle, replace(manifest, plan={"file": "plan.json"}, weights="cd" * 32))
    assert load(tiny_bundle).weights == "cd" * 32  # of a new one the manifest is asked first
