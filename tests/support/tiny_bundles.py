"""Bundles of tiny checkpoints in fp32, each made once for all workers of a test run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from tiny_checkpoints import make_whole

from edgecap.exporters.job import export
from edgecap.exporters.spec import ExportRequest

IMAGES = 4  # that the gate looks at


def shared_bundle(
    factory: pytest.TempPathFactory, family: str, variant: str, format_: str = "onnx"
) -> Path:
    """The bundle of a tiny checkpoint, beside its directory `model`. Nobody may change them."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker's directory lies in that of the run
        root = root.parent
    place = root / f"shared-{family}-{variant}-{format_}"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be making it
        bundle = place / "bundle"
        if not bundle.exists():
            model = place / "model"
            model.mkdir(exist_ok=True)
            make_whole(family, variant, model)
            export(ExportRequest(str(model), (format_,), "fp32", bundle, scenes=IMAGES))
    return bundle
