"""A bundle of schema 1 is run as the same bundle of schema 2."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import image

from edgecap.bundle.confidence_spec import CONFIDENCE
from edgecap.bundle.io import finalize, open_bundle
from edgecap.bundle.manifest import Manifest
from edgecap.cli.app import main
from edgecap.runtime.loading import load
from edgecap.runtime.sampling import Sampling

IMAGES = [image(3, 60, 40), image(4, 30, 90)]
REQUESTS = [
    {},
    {"lang": "ja", "style": "relate"},
    {"grounded": False},
    {"beams": 3, "max_length": 8},
    {"sampling": Sampling(seed=5), "max_length": 12},
    {"constrained": False, "max_length": 8},
]


def test_its_manifest_says_the_same(tiny_bundle_made: Path, schema1_bundle: Path) -> None:
    assert not isinstance(open_bundle(schema1_bundle).manifest, Manifest)
    old, new = load(schema1_bundle).manifest, load(tiny_bundle_made).manifest
    files = {"files": {}, "tokenizer": None, "encoder": None}
    assert replace(old, **files) == replace(new, **files)


def test_it_does_the_same(tiny_bundle_made: Path, schema1_bundle: Path) -> None:
    old, new = load(schema1_bundle), load(tiny_bundle_made)
    for request in REQUESTS:
        assert old.caption(IMAGES, **request) == new.caption(IMAGES, **request)
    assert list(old.stream(IMAGES[0])) == list(new.stream(IMAGES[0]))
    assert np.array_equal(old.embed_images(IMAGES), new.embed_images(IMAGES))
    assert np.array_equal(old.embed_texts(["a dog"]), new.embed_texts(["a dog"]))
    first, second = (one.attention(IMAGES[0], max_length=4) for one in (old, new))
    assert first.caption == second.caption and first.words
    for a, b in zip(first.words, second.words, strict=True):
        assert np.array_equal(a.map, b.map)


def test_commands_read_it(schema1_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(schema1_bundle)]) == 0
    assert "verified" in capsys.readouterr().out
    assert main(["inspect", str(schema1_bundle)]) == 0
    assert "-> k                float32 [1,B,1,292,8]" in capsys.readouterr().out


def test_it_may_be_sealed_again(schema1_bundle: Path) -> None:
    """As a calibration of confidences does, which adds a file."""
    manifest = open_bundle(schema1_bundle).manifest
    (schema1_bundle / CONFIDENCE).write_text("{}")
    finalize(schema1_bundle, manifest, hashed=manifest.files)
    assert CONFIDENCE in open_bundle(schema1_bundle).manifest.files
