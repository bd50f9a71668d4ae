"""The verdict follows from the figures, in memory and on disk."""

import json

import numpy as np
import pytest

from edgecap.bundle.certificate import (
    AgreementParity,
    OutputParity,
    certificate_from_json,
    certificate_to_json,
    certify,
)
from edgecap.bundle.golden import Tolerance, measure
from edgecap.core.errors import BundleError


def output(max_abs: float, cosine: float) -> OutputParity:
    return OutputParity("logits", max_abs, cosine, 0.1, 0.99, "scene 7")


@pytest.mark.parametrize(
    ("max_abs", "cosine", "agreement", "verdict"),
    [
        (0.1, 0.99, 0.95, "pass"),
        (0.11, 0.99, 0.95, "fail"),
        (0.1, 0.98, 0.95, "fail"),
        (0.1, 0.99, 0.94, "fail"),
    ],
)
def test_verdict(max_abs: float, cosine: float, agreement: float, verdict: str) -> None:
    agreements = (AgreementParity("tokens", agreement, 0.95),)
    made = certify("torch", "onnx", 64, ("en",), (output(max_abs, cosine),), agreements)
    assert made.verdict == verdict
    assert bool(made.failures) == (verdict == "fail")
    assert certificate_from_json(json.loads(certificate_to_json(made))) == made


def test_a_failure_says_which_by_how_much_and_where() -> None:
    made = certify("torch", "onnx", 64, ("en",), (output(0.25, 0.5),), ())
    (line,) = made.failures
    for part in ("logits", "0.25", "0.1", "0.5", "scene 7"):
        assert part in line


def test_a_verdict_that_contradicts_the_figures_is_refused() -> None:
    made = certify("torch", "onnx", 64, ("en",), (output(0.25, 0.5),), ())
    claimed = {**json.loads(certificate_to_json(made)), "verdict": "pass"}
    with pytest.raises(BundleError, match=r"bundle\.certificate"):
        certificate_from_json(claimed)


def compare(expected: list, actual: list, name: str = "image_embedding") -> OutputParity:
    tolerances = {name: Tolerance(0.5, 0.9)}
    return measure(name, np.array(expected, float), np.array(actual, float), tolerances)


def test_measuring_finds_the_worst_place_and_row() -> None:
    found = compare([[1, 0], [0, 1]], [[1, 0.25], [1, 1]])
    assert found.max_abs == 1
    assert found.worst == "index 1, 0"
    assert found.cosine == pytest.approx(2**-0.5)
    assert not found.passed


def test_equal_arrays_pass_zeros_too() -> None:
    found = compare([[0, 0], [3, 4]], [[0, 0], [3, 4]])
    assert (found.max_abs, found.cosine, found.passed) == (0, 1, True)


def test_what_all_scores_of_a_step_share_does_not_count() -> None:
    scores, other = [[1, 2, 4], [0, 3, 3]], [[1.5, 2.5, 4.5], [-0.4, 2.6, 2.6]]
    assert compare(scores, other, "logits").cosine == pytest.approx(1)
    assert compare(scores, other).cosine < 0.999
    turned = compare([[5, 5, 6]], [[5, 5.2, 5]], "logits")  # near each other, and another best one
    assert turned.cosine < 0
    assert not compare([[1, 2]], [[float("inf"), 2]], "logits").passed


def test_what_is_no_number_fails_and_can_be_written() -> None:
    found = compare([[1, 2]], [[float("nan"), 2]])
    assert not found.passed
    certificate_to_json(certify("a", "b", 1, ("en",), (found,), ()))


def test_another_shape_is_refused() -> None:
    with pytest.raises(BundleError, match=r"bundle\.model"):
        compare([[1, 2]], [[1, 2, 3]])
