"""Confidences of captions and boxes in C: the numbers of Python on the same bundle."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import Captioner, Library, Refused, engine_library
from calibrated import calibrated, middling
from PIL import Image

from edgecap.bundle.confidence_spec import (
    CONFIDENCE,
    Calibration,
    CaptionWeights,
    SecondStyle,
)
from edgecap.runtime import load
from edgecap.runtime.sampling import Sampling

AUTO = -1.0
NOISE = np.random.default_rng(5)
IMAGES = [NOISE.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((61, 90), (40, 40), (99, 30))]
DRAWN = {"sample": 1, "seed": 1, "temperature": 20.0}  # random weights seldom draw boxes


@pytest.fixture(scope="module")
def calibration(bundles: dict[str, Path]) -> Calibration:
    return middling(bundles["onnx"], IMAGES)


@pytest.fixture
def bundle(bundles: dict[str, Path], calibration: Calibration, tmp_path: Path) -> Path:
    return calibrated(Path(shutil.copytree(bundles["onnx"], tmp_path / "sure")), calibration)


def opened(library: Library, bundle: Path) -> Captioner:
    return library.open(bundle, library=engine_library("onnx"))


def test_confidences_are_those_of_python(library: Library, bundle: Path) -> None:
    captioner, python = opened(library, bundle), load(bundle)
    boxes = 0
    for image in IMAGES:
        said = captioner.describe(image, **DRAWN)
        (expected,) = python.caption(image, sampling=Sampling(20.0, seed=1))
        assert said.confidence == pytest.approx(expected.confidence, abs=1e-5)
        told = [mention.confidences for mention in expected.mentions]
        assert said.sure == tuple(pytest.approx(one, abs=1e-5) for one in told)
        boxes += len(told)
        assert captioner.describe(image, boxes=0).confidence == -1  # plain has no weights
    assert boxes > 0
    captioner.close()


def test_unsure_captions_are_declined(library: Library, bundle: Path) -> None:
    captioner, python = opened(library, bundle), load(bundle, min_confidence="auto")
    expected = python.caption(IMAGES)
    declined = [caption.declined for caption in expected]
    assert any(declined) and not all(declined)
    for image, one in zip(IMAGES, expected, strict=True):
        said = captioner.describe(image, min_confidence=AUTO)
        assert (said.text, said.raw, said.tokens) == (one.text, one.raw, one.tokens)
        assert (said.declined, len(said.mentions)) == (one.declined, len(one.mentions))
        assert captioner.describe(image, min_confidence=1.0).declined
        assert not captioner.describe(image).declined
    captioner.close()


def test_a_second_style_counts_where_a_lowest_confidence_is_given(
    library: Library, bundle: Path
) -> None:
    captioner, python = opened(library, bundle), load(bundle, min_confidence=0.5)
    asked = {"style": "relate", "most_tokens": 7}
    for image in IMAGES:
        (expected,) = python.caption(image, style="relate", max_length=7)
        said = captioner.describe(image, min_confidence=0.5, **asked)
        assert said.confidence == pytest.approx(expected.confidence, abs=1e-5)
        assert (said.declined, said.tokens) == (expected.declined, expected.tokens)
        assert captioner.describe(image, **asked).confidence == -1
    captioner.close()


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"min_confidence": 1.5}, "confidence.minimum"),
        ({"min_confidence": -2.0}, "confidence.minimum"),
        ({"min_confidence": float("nan")}, "confidence.minimum"),
        ({"min_confidence": AUTO, "boxes": 0}, "confidence.style"),
    ],
)
def test_what_cannot_be_asked(
    library: Library, bundle: Path, asked: dict[str, Any], code: str
) -> None:
    captioner = opened(library, bundle)
    with pytest.raises(Refused) as refused:
        captioner.describe(IMAGES[0], **asked)
    assert refused.value.code == code
    captioner.close()


def test_without_a_calibration(library: Library, bundle: Path) -> None:
    (bundle / CONFIDENCE).unlink()
    captioner = opened(library, bundle)
    assert captioner.describe(IMAGES[0]).confidence == -1
    with pytest.raises(Refused) as refused:
        captioner.describe(IMAGES[0], min_confidence=0.5)
    assert refused.value.code == "confidence.none"
    captioner.close()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"schema": 2}, "bundle.schema"),
        ({"captions": {}}, "bundle.confidence"),
        ({"captions": {"grounded": CaptionWeights(0, -1, 0, 0.5)}}, "bundle.confidence"),
        ({"captions": {"grounded": CaptionWeights(0, 1, 0, 1.5)}}, "bundle.confidence"),
        ({"captions": {"grounded": {"bias": 1}}}, "bundle.missing_field"),
        (
            {"captions": {"plain": CaptionWeights(0, 1, 0, 0.5, SecondStyle("grounded", -1))}},
            "bundle.confidence",
        ),
        ({"regions": {"grounded": {"bias": 1, "box": "2", "mean": 0}}}, "bundle.field_type"),
        ({"weights": "abc"}, "bundle.confidence"),
        ({"right": 1}, "bundle.field_type"),
    ],
    ids=str,
)
def test_a_calibration_that_makes_no_sense(
    library: Library,
    bundle: Path,
    calibration: Calibration,
    changes: dict[str, Any],
    code: str,
) -> None:
    calibrated(bundle, replace(calibration, **changes))
    with pytest.raises(Refused) as refused:
        opened(library, bundle)
    assert refused.value.code == code and CONFIDENCE in str(refused.value)


def test_the_command_line(checked_cli: Path, bundle: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{n}.ppm" for n in range(len(IMAGES))]
    for image, file in zip(IMAGES, files, strict=True):
        Image.fromarray(image).save(file)
    command = [checked_cli, "--library", engine_library("onnx"), "--min-confidence", "auto"]
    run = subprocess.run([*command, bundle, *files], capture_output=True, text=True, check=True)
    expected = load(bundle, min_confidence="auto").caption(IMAGES)
    assert run.stdout.splitlines() == [
        f"[declined, confidence {one.confidence:.2f}]" if one.declined else one.text
        for one in expected
    ]
    run = subprocess.run([*command, "--json", bundle, *files], capture_output=True, check=True)
    said = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one["declined"] for one in said] == [one.declined for one in expected]
    for one, caption in zip(said, expected, strict=True):
        assert one["confidence"] == pytest.approx(caption.confidence, abs=1e-5)


@pytest.mark.full
def test_memory_that_runs_out_at_every_allocation(faults: Path, bundle: Path) -> None:
    run = subprocess.run([faults, bundle, engine_library("onnx")], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
