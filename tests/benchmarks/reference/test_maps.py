"""Maps of bundles held against a reference's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import write_bundle

from edgecap.benchmarks.reference import maps
from edgecap.models.loading import load


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with other weights."""
    path = tmp_path_factory.mktemp("other") / "tiny-other"
    write_bundle(path, seed=5, verified=False)
    return path


def test_a_model_agrees_with_itself_and_not_with_another(
    tiny_attention_bundle: Path, tiny_bundle_made: Path, other: Path
) -> None:
    reference = load(tiny_attention_bundle)
    named = {"same": reference, "plain": load(tiny_bundle_made), "other": load(other)}
    images = list(np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8))
    same, plain, off = maps.measure(reference, named, images, ["en", "ja"])
    assert same["mean"] == pytest.approx(1) and same["alike"] == 1
    assert same["by_head"] == pytest.approx(1)
    assert plain["mean"] == pytest.approx(1) and plain["by_head"] is None
    assert off["mean"] < 0.99 and off["least"] <= off["mean"] and off["alike"] < 1
    assert same["steps"] == off["steps"] > 2


def test_the_command(tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(tiny_bundle_made)
    asked = [bundle, "--reference", bundle, "--n", "1", "--lang", "en"]
    assert maps.main([*asked, "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["bundles"]
    assert row["bundle"] == bundle and row["mean"] == pytest.approx(1)
    assert maps.main(asked) == 0
    assert "mean 1.0000" in capsys.readouterr().out
    assert maps.main([*asked[:-1], "xx"]) == 2
    assert "[language.unknown]" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        maps.main([*asked, "--n", "0"])
    assert caught.value.code == 2
