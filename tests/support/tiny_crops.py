"""A tiny captioner that reads images in crops, and images of every grid that it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tiny_checkpoints import make

from edgecap.exporters.job import export
from edgecap.exporters.spec import ExportRequest

SIDES = ((70, 50), (50, 70), (333, 40), (31, 500), (64, 64), (65, 64), (3, 2))


def photos() -> list[Image.Image]:
    """Noise, enlarged, of grids 1 x 2, 2 x 1 and 2 x 2."""
    noise = np.random.default_rng(5).integers(0, 256, (7, 9, 3), np.uint8)
    return [Image.fromarray(noise).resize(sides) for sides in SIDES]


def crops_bundle(folder: Path, format_: str = "onnx") -> Path:
    """A tiny Idefics3, exported in fp32."""
    model = folder / "model"
    model.mkdir()
    make("idefics3", "crops", model)
    return export(ExportRequest(str(model), (format_,), "fp32", folder / "bundle", scenes=4)).path
