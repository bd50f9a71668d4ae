"""Bundles with a calibration of their confidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecap.bundle.confidence_spec import CONFIDENCE
from edgecap.bundle.io import finalize, open_bundle
from edgecap.core.typed import dump


def calibrated(bundle: Path, calibration: Any) -> Path:
    """The same bundle with `calibration` in it: a Calibration, or JSON values that are none."""
    manifest = open_bundle(bundle).manifest
    (bundle / CONFIDENCE).write_bytes(dump(calibration))
    finalize(bundle, manifest)
    return bundle
