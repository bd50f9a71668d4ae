"""`edgecap calibrate` on a bundle of somebody else's model, fitted to the user's own images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import shared_bundle

from edgecap.cli.app import main
from edgecap.runtime.loading import load

COUNT = 44  # images of each folder, of which every second one is fitted


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_bundle(tmp_path_factory, "blip", "tiny")


def folder(path: Path, contrast: float) -> Path:
    """COUNT images of noise."""
    path.mkdir()
    rng = np.random.default_rng(int(contrast))
    for i in range(COUNT):
        values = np.clip(rng.normal(128, contrast, (40, 30, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(values).save(path / f"{i}.png")
    return path


def test_a_model_of_somebody_else(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, others = folder(tmp_path / "good", 1), folder(tmp_path / "others", 100)
    command = ["caption", str(good / "0.png"), "--bundle", str(bundle), "--json", "-"]

    assert main([*command, "--min-confidence", "auto"]) == 2
    assert f"edgecap calibrate {bundle} --images DIR --others DIR" in capsys.readouterr().err
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)[0]["confidence"] is None

    paths = ["--images", str(good), "--others", str(others)]
    assert main(["calibrate", str(bundle), *paths, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == report["others"] == COUNT // 2

    captioner = load(bundle)
    assert captioner.calibration is not None
    assert set(captioner.calibration.captions) == {captioner.prompts[0]}
    assert main([*command, "--min-confidence", "0"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert 0 < row["confidence"] < 1 and not row["declined"]
    assert main([*command, "--min-confidence", "1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["declined"] and row["text"] == ""
    assert main(["verify", str(bundle)]) == 0
