"""How sure a captioner is: calibrated confidences of captions and boxes, and "I do not know".

The confidence of a caption is the probability that it is right, by logistic regression on the mean
and the lowest log-probability of its tokens, and on how concentrated its attention is: the words of
a scene look at its things, those about a blank image look everywhere. The weights travel with the
bundle (bundle/confidence_spec.py); a model without them has no confidence, and declines nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from edgecap.bundle.confidence_spec import (
    CONFIDENCE,
    Calibration,
    RegionWeights,
    calibration_from_json,
)
from edgecap.bundle.io import Bundle
from edgecap.core.errors import BundleError, InputError, UnsupportedError
from edgecap.runtime.captions import Caption

AUTO: Literal["auto"] = "auto"
# The lowest confidence that is not declined: 0 … 1, "auto" for the calibration's own, or None.
Minimum: TypeAlias = "float | Literal['auto'] | None"
_LOWEST = -50.0  # of a log-probability, so that a token that was thought impossible stays finite


class Rating:
    """A captioner whose captions carry a confidence, if its model has a calibration."""

    calibration: Calibration | None = None
    min_confidence: Minimum = None

    def set_confidence(self, calibration: Calibration | None, minimum: Minimum) -> None:
        """Errors as of `check_minimum`."""
        check_minimum(minimum, calibration)
        self.calibration, self.min_confidence = calibration, minimum

    def rated(self, result: Caption | InputError) -> Caption | InputError:
        """A result with its confidences; errors stay as they are."""
        if isinstance(result, InputError):
            return result
        return rated(result, self.calibration, self.min_confidence)


def calibration_of(opened: Bundle) -> Calibration | None:
    """The calibration that travels in a bundle, if any; BundleError if it is malformed."""
    if CONFIDENCE not in opened.manifest.files:
        return None
    return calibration_from_json(opened.content(CONFIDENCE).read_bytes())


def features(caption: Caption) -> tuple[float, float, float]:
    """Mean and lowest log-probability of the caption's tokens, without the end; and its focus.

    The focus of a model without attention is 0, and so is its weight.
    """
    scores = [max(score, _LOWEST) for score in caption.scores]
    return sum(scores) / len(scores), min(scores), caption.focus or 0.0


def rated(caption: Caption, calibration: Calibration | None, minimum: Minimum = None) -> Caption:
    """The caption with its confidences; without words and boxes where it is declined.

    UnsupportedError if `minimum` is given and the calibration is not for the caption's style.
    """
    if calibration is None or not caption.scores:
        return caption
    weights = calibration.captions.get(caption.style)
    if weights is None:
        if minimum is None:
            return caption
        raise UnsupportedError(
            "confidence.style",
            f"the calibration of this model is for {', '.join(calibration.captions)}, "
            f"not for {caption.style!r}.",
        )
    if weights.focus and caption.focus is None:
        raise BundleError(
            "bundle.confidence",
            f"{CONFIDENCE} weighs the attention of {caption.style!r}, which this model does not give.",
            "Fit it again: edgecap calibrate BUNDLE --images DIR --others DIR",
        )
    mean, least, focus = features(caption)
    confidence = _logistic(
        weights.bias + weights.mean * mean + weights.least * least + weights.focus * focus
    )
    if minimum is not None and confidence < (weights.threshold if minimum == AUTO else minimum):
        return replace(caption, text="", raw="", mentions=(), confidence=confidence, declined=True)
    region = calibration.regions.get(caption.style)
    mentions = caption.mentions
    if region is not None:
        mentions = tuple(
            replace(one, confidences=region_confidences(one.scores, mean, region))
            for one in mentions
        )
    return replace(caption, mentions=mentions, confidence=confidence)


def region_confidences(
    scores: Sequence[float], mean: float, weights: RegionWeights
) -> tuple[float, ...]:
    """Of boxes with these `scores`, in a caption whose mean log-probability is `mean`."""
    logs = (max(math.log(score), _LOWEST) if score > 0 else _LOWEST for score in scores)
    return tuple(_logistic(weights.bias + weights.box * log + weights.mean * mean) for log in logs)


def check_minimum(minimum: Minimum, calibration: Calibration | None) -> None:
    """Raise InputError for a number outside 0 … 1, UnsupportedError for a model that has no
    calibration."""
    if minimum is None:
        return
    if minimum != AUTO and not (isinstance(minimum, int | float) and 0 <= minimum <= 1):
        raise InputError(
            "confidence.minimum",
            f"the lowest confidence is {minimum!r}; allowed are numbers in 0 … 1, and {AUTO!r}.",
        )
    if calibration is None:
        raise UnsupportedError(
            "confidence.none",
            "this model carries no calibration of its confidence.",
            "Fit one to your images: edgecap calibrate BUNDLE --images DIR --others DIR",
        )


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
