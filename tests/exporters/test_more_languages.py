"""Weights that learned more than the eight languages export with them, tokenizer and all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgecap.bundle.io import open_bundle
from edgecap.exporters import job as pipeline
from edgecap.exporters.spec import ExportRequest
from edgecap.models.loading import load
from edgecap.reference.extension import Extension
from edgecap.reference.model import weights
from edgecap.reference.tokens import ID, LANGUAGES
from edgecap.reference.train import extend_vocabulary


def test_a_bundle_speaks_the_languages_of_its_weights(shallow: Path, tmp_path: Path) -> None:
    before = Extension()
    after = extend_vocabulary.extend(
        before, "ko", ["빨간 원 한 개.", "빨간 별 한 개."]
    ).with_language("sv")
    grown = extend_vocabulary.resize_embeddings(weights.load(shallow), before, after)
    path = tmp_path / "more.safetensors"
    weights.save(grown, path, {}, after)
    spec = ExportRequest(model=str(path), formats=("onnx",), scenes=12, output=tmp_path / "bundle")
    done = pipeline.export(spec)
    assert done.certificate is not None and done.certificate.verdict == "pass"
    assert set(done.certificate.languages) == {*LANGUAGES, "ko", "sv"}
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.languages == (*LANGUAGES, "ko", "sv")
    words = json.loads((tmp_path / "bundle" / "tokenizer.json").read_text("utf-8"))["tokens"]
    assert manifest.interface.dims["V"] == len(words) == grown.config.vocabulary
    bundle, torch_ = load(tmp_path / "bundle"), load(path)
    assert bundle.vocabulary.prompt("sv", "plain")[0] == ID["<x0>"]
    image = np.zeros((50, 80, 3), np.uint8)
    for lang in ("ko", "sv"):
        ours, theirs = (c.caption(image, lang=lang, max_length=6)[0] for c in (bundle, torch_))
        assert ours.tokens == theirs.tokens
    near = bundle.embed_texts(["빨간 원"]) @ torch_.embed_texts(["빨간 원"]).T
    assert near[0, 0] > 0.9999
