"""Bundles of tiny checkpoints in fp32, each made once for all workers of a test run."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_once import made_once
from tiny_checkpoints import make_whole

from edgecap.exporters.job import export
from edgecap.exporters.spec import ExportRequest

IMAGES = 4  # that the gate looks at


def shared_bundle(
    factory: pytest.TempPathFactory, family: str, variant: str, format_: str = "onnx"
) -> Path:
    """The bundle of a tiny checkpoint, beside its directory `model`. Nobody may change them."""

    def make(place: Path) -> None:
        model = place / "model"
        model.mkdir()
        make_whole(family, variant, model)
        export(ExportRequest(str(model), (format_,), "fp32", place / "bundle", scenes=IMAGES))

    return made_once(factory, f"shared-{family}-{variant}-{format_}", make) / "bundle"
