"""Exports that went wrong: the gate refuses each and says where; `verify` refuses what got past."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doctored import GALLERY, doctor, empty_tail
from tiny_export import spec, write_weights

from edgecap.bundle.io import finalize, open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import GateError
from edgecap.exporters import job
from edgecap.exporters.onnx import convert as to_onnx

# Where the damage shows, in the gate's words.
WHERE = {
    "overflow in float16": "logits",
    "an outlier channel": "image_embedding",
    "scales on the wrong axis": "logits",
    "one biased token": "logits",
    "a constant encoder": "image_embedding",
}


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.mark.parametrize("damage", GALLERY)
def test_verify_refuses_what_reached_a_runtime(
    damage: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest vouches for the damaged file, as that of a fair but broken exporter would."""
    assert main(["verify", str(tiny_bundle)]) == 0
    manifest = open_bundle(tiny_bundle).manifest
    doctor(tiny_bundle, damage)
    finalize(tiny_bundle, manifest)
    infinite = damage == "overflow in float16"  # no figure tells how far it is off
    assert main(["verify", str(tiny_bundle)]) == (2 if infinite else 1)
    error = capsys.readouterr().err
    assert ("[bundle.not_finite]" if infinite else "[verify.failed]") in error
    assert ("the model's scores" if infinite else WHERE[damage]) in error


@pytest.mark.parametrize("file", ["decode.onnx", "tokenizer.json", "golden/logits.npy"])
def test_a_file_that_broke_off_at_the_right_size_is_refused(
    file: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty_tail(tiny_bundle / file)
    assert main(["verify", str(tiny_bundle)]) == 2
    assert f"[bundle.altered] {file}" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.parametrize("damage", GALLERY)
def test_the_gate_saves_none_of_them(
    damage: str, weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = to_onnx.export

    def damaged(model: Any, asked: Any, directory: Path, *rest: Any) -> Any:
        places = real(model, asked, directory, *rest)
        doctor(directory, damage)
        return places

    monkeypatch.setattr(to_onnx, "export", damaged)
    with pytest.raises(GateError) as caught:
        job.export(spec(weights_file, tmp_path / "bundle"))
    infinite = damage == "overflow in float16"  # ends the comparison
    assert caught.value.code == ("parity.crashed" if infinite else "parity.failed")
    assert ("the model's scores" if infinite else WHERE[damage]) in caught.value.message
    assert "scene" in caught.value.message
    assert list(tmp_path.iterdir()) == []
