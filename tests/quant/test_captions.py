"""Calibration of any captioner: how many images are decoded together changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import make_whole

from edgecap.exporters import rounded
from edgecap.exporters.checkpoint_images import model_inputs
from edgecap.exporters.described import describe
from edgecap.models import registry
from edgecap.models.checkpoint import open_checkpoint
from edgecap.quant import captions
from edgecap.quant.captions import batch_size
from edgecap.quant.plan import Activations
from edgecap.quant.samples import CalibrationSpec

IMAGES = 18


def test_a_plan_does_not_depend_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_checkpoint(make_whole("blip", "tiny", tmp_path / "blip"))
    adapter = registry.load(opened)
    described = describe(adapter, opened)
    spec = CalibrationSpec(images=IMAGES)
    images = model_inputs(spec.shuffled()[:IMAGES], described.image)
    begin = next(iter(described.prompts.values())).begin

    def calibrated() -> tuple[list[list[int]], dict[tuple[str, str], Activations]]:
        found = rounded.collect(adapter, images, begin)
        plan = rounded.calibrated(adapter, found, spec, "").plan
        return found.captions, {
            (name, function): grids
            for name, layer in plan.layers.items()
            for function, grids in layer.functions.items()
        }

    assert batch_size(adapter.interface) >= IMAGES  # a tiny model: all of them at once
    together, grids = calibrated()
    monkeypatch.setattr(captions, "BATCHES", (5, 5))
    apart, others = calibrated()
    assert together == apart and grids.keys() == others.keys()
    for key, made in grids.items():
        for mine, other in ((made.input, others[key].input), (made.output, others[key].output)):
            np.testing.assert_allclose(mine.scale, other.scale, rtol=2**-9)


def test_a_large_state_is_kept_in_few_copies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    adapter = registry.load(open_checkpoint(make_whole("blip", "tiny", tmp_path / "blip")))
    least, most = captions.BATCHES
    one = adapter.interface.state_bytes()
    for room, expected in ((1, least), (one * (least + 3), least + 3), (one * 1000, most)):
        monkeypatch.setattr(captions, "STATE_BYTES", room)
        assert batch_size(adapter.interface) == expected
