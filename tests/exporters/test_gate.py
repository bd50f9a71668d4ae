"""The parity gate: what differs from PyTorch is not saved, whatever differs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_export import spec

from edgecap.bundle.certificate import Certificate
from edgecap.bundle.golden import Golden
from edgecap.bundle.manifest import Function
from edgecap.core.errors import GateError
from edgecap.exporters import job as pipeline
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.parity import collect as references
from edgecap.exporters.parity.outputs import ReferenceOutputs
from edgecap.exporters.parity.tolerances import CLOSE
from edgecap.exporters.spec import ExportSpec
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.model.captioner import CaptionModel


def test_a_damaged_artifact_fails_the_gate_and_is_not_saved(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = to_onnx.export

    def damaged(model: CaptionModel, *rest: Any) -> dict[str, str]:
        broken = copy.deepcopy(model)
        with torch.no_grad():
            broken.text_embedding.weight.add_(0.05 * torch.randn(32, 64))
        return real(broken, *rest)

    monkeypatch.setattr(to_onnx, "export", damaged)
    with pytest.raises(GateError) as caught:
        pipeline.export(spec(tiny, tmp_path / "bundle"))
    assert caught.value.exit_code == 1
    assert "text_embedding: max abs" in caught.value.message
    assert "allowed 0.0001" in caught.value.message
    assert "scene" in caught.value.message
    assert "logits" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_what_verify_would_refuse_fails_the_gate(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenes are as they should be; one golden text is not."""
    real = references.golden

    def altered(*asked: Any) -> Golden:
        golden = real(*asked)
        golden.arrays["text_embedding"][1] *= -1
        return golden

    monkeypatch.setattr(references, "golden", altered)
    with pytest.raises(GateError) as caught:
        pipeline.export(spec(tiny, tmp_path / "bundle"))
    assert caught.value.code == "parity.failed"
    assert "golden text_embedding: max abs" in caught.value.message
    assert "golden logits" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_that_cannot_run_fails_the_gate(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = to_onnx.export

    def truncated(
        model: CaptionModel, spec: ExportSpec, directory: Path, plan: Any
    ) -> dict[str, Function]:
        files = real(model, spec, directory, plan)
        (directory / "decode.onnx").write_bytes(b"")
        return files

    monkeypatch.setattr(to_onnx, "export", truncated)
    with pytest.raises(GateError, match="could not be run") as caught:
        pipeline.export(spec(tiny, tmp_path / "bundle"))
    assert caught.value.code == "parity.crashed"
    assert "[bundle.truncated]" in caught.value.message
    assert "edgecap.core" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_map_that_parts_a_little_passes_in_one_step_and_not_in_many(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = references.collect

    def export(name: str, every: int) -> Certificate | None:
        def altered(*asked: Any) -> ReferenceOutputs:
            found = real(*asked)
            rows = found.attention[::every]  # [m,P]
            noise = np.random.default_rng(0).normal(size=rows.shape)
            noise *= 0.2 * np.linalg.norm(rows, axis=-1, keepdims=True) / np.sqrt(rows.shape[-1])
            rows += noise.astype(np.float32)  # a cosine of 0.98
            return found

        monkeypatch.setattr(references, "collect", altered)
        calibration = CalibrationSpec(images=16)
        changes = {"precision": "w8a8", "calibration": calibration}
        return pipeline.export(spec(tiny, tmp_path / name, **changes)).certificate

    certificate = export("rare", 10_000)
    assert certificate is not None
    (least,) = (o.cosine for o in certificate.outputs if o.output == "attention")
    assert 0.95 < least < CLOSE
    with pytest.raises(GateError) as caught:
        export("many", 10)
    assert "close_attention: 9" in caught.value.message
    assert "cosine" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["rare"]
