"""confidence.json: how a caption's log-probabilities become the probability that it is right.

It is a file and no field of the manifest, so that hosts that do not know it run the bundle. SPEC.md
describes it for other languages.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode, parse

CONFIDENCE = "confidence.json"
SCHEMA = 1


@dataclass(frozen=True)
class SecondStyle:
    """A style or prompt that the image is captioned in as well, greedily and to its end."""

    style: str
    mean: float  # times the mean log-probability of that caption's tokens, without the end


@dataclass(frozen=True)
class CaptionWeights:
    """Logistic regression on figures of a caption, of one style or prompt."""

    bias: float
    mean: float  # times the mean log-probability of its tokens, without the end
    least: float  # times the lowest of them
    threshold: float  # 0-1: of captions of what the model is for, 98 in 100 are above
    second: SecondStyle | None = None  # None: the caption alone counts


@dataclass(frozen=True)
class RegionWeights:
    """Logistic regression on the figures of a box and of its caption."""

    bias: float
    box: float  # times the mean log-probability of the box's tokens
    mean: float  # times that of the caption's tokens


@dataclass(frozen=True)
class Calibration:
    """The calibration of one model."""

    schema: int
    right: str  # what a confidence is the probability of, in words
    fitted_on: str  # on which images, in words
    weights: str | None  # hex SHA-256 of the model's weights; null if unknown
    captions: dict[str, CaptionWeights]  # by style, or by prompt
    regions: dict[str, RegionWeights]  # the same; empty for a model without boxes


def calibration_from_json(data: bytes) -> Calibration:
    """A checked calibration; BundleError (bundle.confidence and those of typed JSON)."""
    found = decode(Calibration, parse(data, CONFIDENCE), CONFIDENCE)
    if found.schema != SCHEMA:
        raise BundleError(
            "bundle.schema", f"{CONFIDENCE} has schema {found.schema}; this edgecap reads {SCHEMA}."
        )
    if not found.captions:
        raise _bad("captions must not be empty")
    for name, one in found.captions.items():
        second = one.second.mean if one.second else 0.0
        numbers = (one.bias, one.mean, one.least, second, one.threshold)
        if not all(map(math.isfinite, numbers)) or not 0 <= one.threshold <= 1:
            raise _bad(f"captions.{name} needs finite numbers and a threshold in 0 … 1")
        if min(one.mean, one.least, second) < 0:
            raise _bad(f"captions.{name} would trust an unlikely caption more than a likely one")
    for name, region in found.regions.items():
        if not all(map(math.isfinite, (region.bias, region.box, region.mean))):
            raise _bad(f"regions.{name} needs finite numbers")
    if found.weights is not None and not re.fullmatch(r"[0-9a-f]{64}", found.weights):
        raise _bad("weights must be null or a SHA-256")
    return found


def _bad(message: str) -> BundleError:
    return BundleError("bundle.confidence", f"{CONFIDENCE}: {message}.")
