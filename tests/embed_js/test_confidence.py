"""Confidences and captions that are declined: the numbers of Python on the same bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrated import calibrated
from js_edgecap import Caption
from PIL import Image

from edgecap.bundle.confidence_spec import (
    CONFIDENCE,
    Calibration,
    CaptionWeights,
    RegionWeights,
    SecondStyle,
)
from edgecap.core.typed import dump
from edgecap.runtime import load
from edgecap.runtime.confidence import features
from edgecap.runtime.sampling import Sampling

SAMPLE = Path(__file__).resolve().parents[2] / "edgecap" / "reference" / "data" / "sample.png"


def images() -> list[Image.Image]:
    with Image.open(SAMPLE) as sample:
        return [sample.convert("RGB").resize(size) for size in ((256, 192), (64, 64), (101, 230))]


@pytest.fixture
def calibration(tiny_bundle_made: Path) -> Calibration:
    """One in whose middle the captions of `images` lie, so that some are declined."""
    means, leasts = zip(*map(features, load(tiny_bundle_made).caption(images())), strict=True)
    bias = -2 * float(np.mean(means)) - float(np.mean(leasts)) / 2
    weights = CaptionWeights(bias, 2.0, 0.5, 0.5)
    regions = RegionWeights(1 - float(np.mean(means)), 0.1, 1.0)
    return Calibration(1, "it is right", "made", None, {"grounded": weights}, {"grounded": regions})


def alike(answer: dict[str, Any], expected: Any) -> None:
    assert answer["declined"] == expected.declined
    assert answer["text"] == expected.text
    assert answer["raw"] == expected.raw
    assert answer["tokens"] == list(expected.tokens)
    if expected.confidence is None:
        assert answer["confidence"] is None
    else:
        assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
    for region, mention in zip(answer["regions"], expected.mentions, strict=True):
        np.testing.assert_allclose(region["confidences"], mention.confidences, rtol=0, atol=1e-4)


def test_confidences_are_those_of_python(
    tiny_bundle: Path, calibration: Calibration, caption: Caption
) -> None:
    calibrated(tiny_bundle, calibration)
    draw = {"temperature": 3, "seed": 1}  # random weights seldom draw boxes
    asked: list[tuple[Image.Image, dict[str, Any]]] = []
    for image in images():
        asked += [(image, {"sampling": draw}), (image, {"prompt": "plain"})]
    answers = caption(tiny_bundle, asked)["answers"]
    python = load(tiny_bundle)
    for answer, (image, options) in zip(answers, asked, strict=True):
        sampling = Sampling(**options["sampling"]) if "sampling" in options else None
        (expected,) = python.caption(image, style=options.get("prompt"), sampling=sampling)
        alike(answer, expected)
    assert [a["confidence"] is None for a in answers] == [False, True] * 3  # plain has no weights
    assert any(region["confidences"] for answer in answers for region in answer["regions"])


def test_unsure_captions_are_declined(
    tiny_bundle: Path, calibration: Calibration, caption: Caption
) -> None:
    calibrated(tiny_bundle, calibration)
    asked = [(image, {}) for image in images()]
    for minimum in ("auto", 0.4, 0, 1):
        answers = caption(tiny_bundle, asked, load={"minConfidence": minimum})["answers"]
        expected = load(tiny_bundle, min_confidence=minimum).caption(images())
        for answer, one in zip(answers, expected, strict=True):
            alike(answer, one)
        declined = [answer for answer in answers if answer["declined"]]
        assert all(answer["words"] == answer["regions"] == [] for answer in declined)
        if minimum == "auto":
            assert 0 < len(declined) < len(asked)


def test_a_second_caption_is_made_where_a_minimum_is_given(
    tiny_bundle: Path, calibration: Calibration, caption: Caption
) -> None:
    (boxes,) = calibration.captions.values()
    plain = replace(boxes, second=SecondStyle("grounded", 0.5))
    calibrated(tiny_bundle, replace(calibration, captions={"plain": plain}))
    asked = [
        (image, {"prompt": "plain", "lang": lang}) for image in images() for lang in ("en", "ja")
    ]
    for load_options, minimum in (({}, None), ({"minConfidence": 0}, 0.0)):
        answers = caption(tiny_bundle, asked, load=load_options)["answers"]
        python = load(tiny_bundle, min_confidence=minimum)
        for answer, (image, options) in zip(answers, asked, strict=True):
            (expected,) = python.caption(image, style="plain", lang=options["lang"])
            alike(answer, expected)
            assert (answer["confidence"] is None) == (minimum is None)


def test_a_calibration_may_be_missing(
    tiny_bundle: Path, calibration: Calibration, caption: Caption
) -> None:
    asked: list[tuple[Image.Image, dict[str, Any]]] = [(images()[1], {})]
    calibrated(tiny_bundle, calibration)
    (tiny_bundle / CONFIDENCE).unlink()
    (answer,) = caption(tiny_bundle, asked)["answers"]
    assert (answer["confidence"], answer["declined"]) == (None, False)
    assert caption(tiny_bundle, asked, load={"minConfidence": "auto"})["code"] == "confidence.none"


@pytest.mark.parametrize("minimum", [-0.1, 1.5, "always", True])
def test_limits_that_are_refused(tiny_bundle_made: Path, caption: Caption, minimum: Any) -> None:
    told = caption(tiny_bundle_made, [(images()[1], {})], load={"minConfidence": minimum})
    assert told["code"] == "confidence.minimum"


def test_calibrations_that_are_refused(
    tiny_bundle: Path, calibration: Calibration, caption: Caption
) -> None:
    (weights,) = calibration.captions.values()

    def code(changed: Any, **options: Any) -> str:
        told = caption(calibrated(tiny_bundle, changed), [(images()[1], options)], load=limit)
        return str(told["code"])

    limit = {"minConfidence": 0.5}
    assert code(calibration, prompt="plain") == "confidence.style"
    assert code(replace(calibration, schema=2)) == "bundle.schema"
    assert code(replace(calibration, captions={})) == "bundle.confidence"
    assert code(replace(calibration, weights="no hash")) == "bundle.confidence"
    wrong = SecondStyle("plain", -1.0)
    for change in ({"threshold": 2.0}, {"mean": -1.0}, {"least": -1.0}, {"second": wrong}):
        bad = {"grounded": replace(weights, **change)}
        assert code(replace(calibration, captions=bad)) == "bundle.confidence"
    more = json.loads(dump(calibration)) | {"more": 1}
    assert code(more) == "bundle.unknown_field"
