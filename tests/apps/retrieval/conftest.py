"""A folder of images and its index, made by a real ONNX bundle."""

from pathlib import Path

import pytest
from tiny_onnx import image, images

from edgecap.apps.retrieval import update
from edgecap.models.loading import load
from edgecap.runtime import Captioner


@pytest.fixture(scope="module")
def captioner(tiny_bundle_made: Path) -> Captioner:
    return load(tiny_bundle_made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = images(tmp_path / "images", 6)
    (place / "deep").mkdir()
    (place / "deep" / "six.PNG").write_bytes(image(6, 40, 30))
    (place / "notes.txt").write_text("no image")
    (place / ".hidden.png").write_bytes(image(7, 40, 30))
    return place


@pytest.fixture
def made(folder: Path, captioner: Captioner, tmp_path: Path) -> Path:
    update(folder, tmp_path / "index", captioner, "tiny")
    return tmp_path / "index"
