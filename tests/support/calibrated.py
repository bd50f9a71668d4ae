"""Bundles with a calibration of their confidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.bundle.confidence_spec import (
    CONFIDENCE,
    Calibration,
    CaptionWeights,
    RegionWeights,
    SecondStyle,
)
from edgecap.bundle.io import finalize, open_bundle
from edgecap.core.typed import dump
from edgecap.runtime import load
from edgecap.runtime.confidence import features


def calibrated(bundle: Path, calibration: Any) -> Path:
    """The same bundle with `calibration` in it: a Calibration, or JSON values that are none."""
    manifest = open_bundle(bundle).manifest
    (bundle / CONFIDENCE).write_bytes(dump(calibration))
    finalize(bundle, manifest)
    return bundle


def middling(bundle: Path, images: Sequence[np.ndarray]) -> Calibration:
    """One in whose middle the captions of images uint8 [h,w,3] lie, so that some are declined."""
    means, leasts = zip(*map(features, load(bundle).caption(list(images))), strict=True)
    bias = -2 * float(np.mean(means)) - float(np.mean(leasts)) / 2
    weights = CaptionWeights(bias, 2.0, 0.5, 0.5)
    regions = RegionWeights(1 - float(np.mean(means)), 0.1, 1.0)
    relate = CaptionWeights(bias, 1.0, 0.5, 0.5, SecondStyle("grounded", 1.0))
    captions = {"grounded": weights, "relate": relate}
    return Calibration(1, "it is right", "made", None, captions, {"grounded": regions})
