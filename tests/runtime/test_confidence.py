"""Confidences of captions and boxes, captions that are declined, and fitting a calibration."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibrated import calibrated
from refusals import refusal
from tiny_onnx import images

from edgecap.apps.calibration import Opinions, fit, fit_captions
from edgecap.bundle.confidence_spec import (
    CONFIDENCE,
    Calibration,
    CaptionWeights,
    RegionWeights,
    SecondStyle,
    calibration_from_json,
)
from edgecap.cli.app import main
from edgecap.core.errors import UnsupportedError
from edgecap.core.typed import dump
from edgecap.runtime import Caption, Mention, load
from edgecap.runtime.confidence import AUTO, rated

WEIGHTS = CaptionWeights(bias=2.0, mean=3.0, least=1.0, threshold=0.5)
REGIONS = RegionWeights(bias=1.0, box=2.0, mean=4.0)
CALIBRATION = Calibration(1, "it is right", "made", None, {"plain": WEIGHTS}, {"plain": REGIONS})


def caption(*scores: float, style: str = "plain") -> Caption:
    mention = Mention("a dog", (0, 5), ((0.0, 0.0, 4.0, 4.0),), (0.5,))
    score = sum(scores) / max(len(scores), 1)
    tokens = tuple(range(len(scores)))
    return Caption("a dog", "a dog", "en", style, (mention,), tokens, scores, score, True, 0)


def test_the_confidence_is_logistic_in_mean_and_least() -> None:
    found = rated(caption(-0.1, -0.7), CALIBRATION)
    assert found.confidence == pytest.approx(1 / (1 + math.exp(-(2 + 3 * -0.4 - 0.7))))
    (one,) = found.mentions
    expected = 1 / (1 + math.exp(-(1 + 2 * math.log(0.5) + 4 * -0.4)))
    assert one.confidences == (pytest.approx(expected),)
    assert not found.declined and found.text == "a dog"


def test_a_caption_below_the_minimum_has_no_words() -> None:
    unsure = rated(caption(-2.0, -3.0), CALIBRATION, AUTO)
    assert unsure.declined and unsure.text == unsure.raw == "" and unsure.mentions == ()
    assert unsure.confidence is not None and unsure.confidence < WEIGHTS.threshold
    assert not rated(caption(-2.0, -3.0), CALIBRATION, 0.0).declined


def test_a_token_thought_impossible_gives_a_finite_confidence() -> None:
    found = rated(caption(-0.1, -math.inf), CALIBRATION)
    assert found.confidence == pytest.approx(0)


def test_without_calibration_nothing_is_rated_and_a_minimum_is_refused(
    tiny_bundle_made: Path, tmp_path: Path
) -> None:
    plain = caption(-0.1)
    assert rated(plain, None) is plain
    with pytest.raises(UnsupportedError) as caught:
        load(tiny_bundle_made, min_confidence=AUTO)
    assert caught.value.code == "confidence.none" and "edgecap calibrate" in str(caught.value)


def test_a_style_that_was_not_fitted_is_not_declined_silently() -> None:
    other = caption(-0.1, style="relate")
    assert rated(other, CALIBRATION) is other
    with pytest.raises(UnsupportedError, match="for plain, not for 'relate'.*edgecap calibrate"):
        rated(other, CALIBRATION, 0.3)


@pytest.mark.parametrize(
    "change",
    [
        {"captions": {}},
        {"captions": {"plain": {**WEIGHTS.__dict__, "mean": -1.0}}},
        {"captions": {"plain": {**WEIGHTS.__dict__, "threshold": 1.5}}},
        {"captions": {"plain": {**WEIGHTS.__dict__, "second": {"style": "a", "mean": -1}}}},
        {"weights": "abc"},
        {"schema": 2},
        {"more": 1},
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    value = json.loads(dump(CALIBRATION)) | change
    code = refusal(lambda: calibration_from_json(json.dumps(value).encode()))
    assert code in ("bundle.confidence", "bundle.schema", "bundle.unknown_field")


def test_a_style_without_calibration_is_refused_before_any_image_is_read(
    tiny_bundle: Path,
) -> None:
    captioner = load(calibrated(tiny_bundle, CALIBRATION), min_confidence=AUTO)
    for call in (captioner.caption, captioner.caption_many):
        with pytest.raises(UnsupportedError, match="not for 'relate'"):
            call("missing.png", style="relate")


def test_the_command_declines(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sure = replace(WEIGHTS, bias=50.0)
    calibrated(tiny_bundle, replace(CALIBRATION, captions={"plain": WEIGHTS, "grounded": sure}))
    folder = images(tmp_path / "images", 2)
    command = ["caption", str(folder), "--bundle", str(tiny_bundle), "--min-confidence", "auto"]
    assert main([*command, "--style", "plain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("[declined, confidence 0." in line for line in lines)
    assert main([*command, "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["declined"] for row in rows] == [False, False]
    assert all(row["confidence"] > 0.9 and row["text"] for row in rows)
    for wrong in ("1.5", "nan", "much"):
        assert main([*command[:-1], wrong]) == 2
        assert "[confidence.minimum]" in capsys.readouterr().err


def test_an_app_may_leave_the_calibration_out(tiny_bundle: Path) -> None:
    (calibrated(tiny_bundle, CALIBRATION) / CONFIDENCE).unlink()
    assert load(tiny_bundle).calibration is None


def test_the_fit_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([np.ones((20000, 1)), rng.normal(-1, 1, (20000, 2))], 1)  # [N,3]
    labels = rng.random(20000) < 1 / (1 + np.exp(-(values @ (1.5, 1.0, 2.0))))
    ones = labels.mean()  # both sides count alike, which moves the bias alone
    expected = (1.5 - math.log(ones / (1 - ones)), 1.0, 2.0)
    assert fit(values, labels.astype(np.int64)) == pytest.approx(expected, abs=0.1)


def test_sides_that_a_line_separates_give_finite_weights_and_keep_the_right_ones() -> None:
    right: list[Opinions] = [(caption(-0.01 * i, -0.02), None) for i in range(1, 40)]
    wrong: list[Opinions] = [(caption(-2.0 - 0.1 * i, -4.0), None) for i in range(40)]
    weights = fit_captions(right, wrong)
    calibration = replace(CALIBRATION, captions={"plain": weights})
    assert not any(rated(one, calibration, AUTO).declined for one, _ in right[:-1])
    assert rated(caption(-2.0, -4.0), calibration, AUTO).declined
    assert refusal(lambda: fit_captions(right[:5], right)) == "confidence.few"


def test_a_second_opinion_tells_what_words_alone_do_not() -> None:
    words = caption(-0.1)
    right: list[Opinions] = [(words, caption(-0.1 - i / 100, style="boxes")) for i in range(40)]
    wrong: list[Opinions] = [(words, caption(-1.0 - i / 100, style="boxes")) for i in range(40)]
    weights = fit_captions(right, wrong)
    assert weights.second is not None and weights.second.style == "boxes"
    calibration = replace(CALIBRATION, captions={"plain": weights})
    for second, declined in ((right[0][1], False), (wrong[0][1], True), (caption(), True)):
        assert rated(words, calibration, AUTO, second).declined is declined
    assert rated(words, calibration, AUTO) == words


SECOND = replace(WEIGHTS, second=SecondStyle("grounded", 5.0))


def test_the_second_opinion_is_asked_for_only_with_a_minimum(tiny_bundle: Path) -> None:
    calibrated(tiny_bundle, replace(CALIBRATION, captions={"plain": SECOND}))
    shown = [np.full((40, 40, 3), level, np.uint8) for level in (0, 90, 200)]
    plain = load(tiny_bundle).caption(shown, lang="ja", style="plain")
    assert [one.confidence for one in plain] == [None] * 3
    rating = load(tiny_bundle, min_confidence=0.0)
    boxes = load(tiny_bundle).caption(shown, lang="ja")
    for one, before, second in zip(
        rating.caption(shown, lang="ja", style="plain", beams=2),
        load(tiny_bundle).caption(shown, lang="ja", style="plain", beams=2),
        boxes,
        strict=True,
    ):
        means = [sum(each.scores) / len(each.scores) for each in (one, second)]
        logit = 2 + 3 * means[0] + min(one.scores) + 5 * means[1]
        assert one.confidence == pytest.approx(1 / (1 + math.exp(-logit)))
        assert replace(one, confidence=None, mentions=()) == replace(before, mentions=())


def test_calibrate_keeps_the_second_opinion(tiny_bundle: Path, tmp_path: Path) -> None:
    calibrated(tiny_bundle, replace(CALIBRATION, captions={"plain": SECOND}))
    shown, others = images(tmp_path / "a", 40), images(tmp_path / "b", 40)
    command = ["calibrate", str(tiny_bundle), "--images", str(shown), "--others", str(others)]
    assert main([*command, "--style", "plain"]) == 0
    captioner = load(tiny_bundle)
    assert captioner.calibration is not None
    second = captioner.calibration.captions["plain"].second
    assert second is not None and second.style == "grounded"


def test_calibrate_writes_into_the_bundle(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, others = images(tmp_path / "a", 40), images(tmp_path / "b", 40)
    command = ["calibrate", str(tiny_bundle), "--images", str(shown), "--others", str(others)]
    assert main([*command, "--style", "plain", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["others"]) == (20, 20)
    captioner = load(tiny_bundle, verify="full")
    assert captioner.calibration is not None and set(captioner.calibration.captions) == {"plain"}
    assert captioner.caption(shown / "0.png", style="plain")[0].confidence is not None
    assert main(["verify", str(tiny_bundle)]) == 0
