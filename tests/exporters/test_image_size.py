"""A bundle whose images have the size that was requested, from the command line to the caption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoints import make_whole

from edgecap.bundle.io import open_bundle
from edgecap.cli.app import main
from edgecap.models.adapter import Limits
from edgecap.models.checkpoint import open_checkpoint
from edgecap.models.registry import load as load_adapter
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.image_processing import process
from edgecap.runtime.loading import load

SIDE = 16


@pytest.mark.full
def test_a_bundle_has_the_requested_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = make_whole("qwen2_vl", "tiny", tmp_path / "model"), tmp_path / "bundle"
    command = ["export", str(model), "--format", "onnx", "--image-size", str(SIDE)]
    assert main([*command, "--output", str(out)]) == 0
    manifest = open_bundle(out).manifest
    assert manifest.image.size == (SIDE, SIDE) and manifest.image.fit == "stretch"
    assert manifest.interface.dims["h"] == manifest.interface.dims["w"] == SIDE
    assert f"Images are stretched to {SIDE}x{SIDE} px" in (out / "README.md").read_text()
    assert main(["verify", str(out)]) == 0
    noise = np.random.default_rng(5).integers(0, 256, (40, 90, 3), np.uint8)
    captioner = load(out)
    assert isinstance(captioner, Captioner)
    adapter = load_adapter(open_checkpoint(model), image_size=SIDE)
    prompt = adapter.generation.prompts["caption"]
    image = process(Image.fromarray(noise), adapter.image)
    (expected,) = adapter.reference([image], prompt, Limits(20, shipped=True))
    (caption,) = captioner.caption(noise)
    assert list(caption.tokens) == [i for i in expected if i not in adapter.generation.end]
