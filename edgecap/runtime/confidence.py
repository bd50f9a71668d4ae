"""How sure a captioner is: calibrated confidences of captions and boxes, and "I do not know".

The confidence of a caption is the probability that it is right, by logistic regression on the mean
and the lowest log-probability of its tokens. The weights travel with the bundle
(bundle/confidence_spec.py); a model without them has no confidence, and declines nothing.

A style may need a second opinion: words alone sound sure of an image that shows nothing, boxes do
not. The image is then captioned in the style with boxes as well, and both captions count. That
takes time, so it is done only where a lowest confidence was asked for.
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
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime.captions import Caption

AUTO: Literal["auto"] = "auto"
# The lowest confidence that is not declined: 0 … 1, "auto" for the calibration's own, or None.
Minimum: TypeAlias = "float | Literal['auto'] | None"
_LOWEST = -50.0  # of a log-probability, so that a token that was thought impossible stays finite


class Rating:
    """A captioner whose captions carry a confidence, if its model has a calibration."""

    calibration: Calibration | None = None
    min_confidence: Minimum = None

    def set_confidence(
        self, calibration: Calibration | None, minimum: Minimum, bundle: str | None = None
    ) -> None:
        """`bundle`, the path of one, and errors are those of `check_minimum`."""
        check_minimum(minimum, calibration, bundle)
        self.calibration, self.min_confidence = calibration, minimum

    def check_style(self, style: str) -> None:
        """Refuse a style that the lowest confidence cannot be kept for, before any work."""
        check_style(style, self.calibration, self.min_confidence)

    def second_style(self, style: str) -> str | None:
        """The style that the images of captions of this style must be captioned in as well."""
        if self.calibration is None or self.min_confidence is None:
            return None
        weights = self.calibration.captions.get(style)
        return weights.second.style if weights and weights.second else None

    def rated(self, caption: Caption, second: Caption | None = None) -> Caption:
        """A caption with its confidences; `second`: that of the image in the second style."""
        return rated(caption, self.calibration, self.min_confidence, second)


def calibration_of(opened: Bundle) -> Calibration | None:
    """The calibration that travels in a bundle, if any; BundleError if it is malformed."""
    if CONFIDENCE not in opened.manifest.files:
        return None
    return calibration_from_json(opened.content(CONFIDENCE).read_bytes())


def features(caption: Caption) -> tuple[float, float]:
    """Mean and lowest log-probability of the caption's tokens, without the end."""
    scores = [max(score, _LOWEST) for score in caption.scores] or [_LOWEST]
    return sum(scores) / len(scores), min(scores)


def rated(
    caption: Caption,
    calibration: Calibration | None,
    minimum: Minimum = None,
    second: Caption | None = None,
) -> Caption:
    """The caption with its confidences; without words and boxes where it is declined.

    Without `second`, the image's caption in the second style, a caption whose style needs one has
    no confidence, nor have its boxes.

    Errors as of `check_style`.
    """
    if calibration is None or not caption.scores:
        return caption
    check_style(caption.style, calibration, minimum)
    weights = calibration.captions.get(caption.style)
    if weights is None:
        return caption
    mean, least = features(caption)
    logit = weights.bias + weights.mean * mean + weights.least * least
    if weights.second is not None:
        if second is None:
            return caption
        logit += weights.second.mean * features(second)[0]
    confidence = _logistic(logit)
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


def check_style(style: str, calibration: Calibration | None, minimum: Minimum) -> None:
    """Raise UnsupportedError if `minimum` is given and the calibration is not for this style."""
    if minimum is None or calibration is None or style in calibration.captions:
        return
    raise UnsupportedError(
        "confidence.style",
        f"the calibration of this model is for {', '.join(calibration.captions)}, "
        f"not for {style!r}.",
        "Fit that one as well, with edgecap calibrate.",
    )


def check_minimum(
    minimum: Minimum, calibration: Calibration | None, bundle: str | None = None
) -> None:
    """Raise InputError for a number outside 0 … 1, UnsupportedError for a model that has no
    calibration; `bundle` is the path of one that could be given it, None for PyTorch."""
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
            f"{'Fit' if bundle else 'Export it, and fit'} one to your images: "
            f"edgecap calibrate {bundle or 'BUNDLE'} --images DIR --others DIR",
        )


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
