"""The parity gate: what differs from PyTorch is not saved, whatever differs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_export import spec

from edgecap.bundle.certificate import Certificate, certificate_from_json
from edgecap.bundle.golden import Golden
from edgecap.bundle.io import open_bundle
from edgecap.bundle.manifest import Function
from edgecap.core.errors import GateError, InputError
from edgecap.exporters import job as pipeline
from edgecap.exporters.job import prepare
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.parity import collect as references
from edgecap.exporters.parity.compare import first_difference
from edgecap.exporters.parity.outputs import ReferenceOutputs, spread_of
from edgecap.exporters.parity.tolerances import BOUNDS, CLOSE
from edgecap.exporters.spec import ExportSpec
from edgecap.models.loading import load
from edgecap.quant.plan import read_plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.model.captioner import CaptionModel


def test_a_damaged_artifact_fails_the_gate_and_is_not_saved(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = to_onnx.export

    def damaged(model: CaptionModel, *rest: Any) -> dict[str, str]:
        broken = copy.deepcopy(model)
        with torch.no_grad():
            broken.text_embedding.weight.add_(0.05 * torch.randn(32, 64))
        return real(broken, *rest)

    monkeypatch.setattr(to_onnx, "export", damaged)
    with pytest.raises(GateError) as caught:
        pipeline.export(spec(shallow, tmp_path / "bundle"))
    assert caught.value.exit_code == 1
    assert "text_embedding: max abs" in caught.value.message
    assert "allowed 0.0001" in caught.value.message
    assert "scene" in caught.value.message
    assert "logits" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_what_verify_would_refuse_fails_the_gate(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenes are as they should be; one golden text is not."""
    real = references.golden

    def altered(*arguments: Any) -> Golden:
        golden = real(*arguments)
        golden.arrays["text_embedding"][1] *= -1
        return golden

    monkeypatch.setattr(references, "golden", altered)
    with pytest.raises(GateError) as caught:
        pipeline.export(spec(shallow, tmp_path / "bundle"))
    assert caught.value.code == "parity.failed"
    assert "golden text_embedding: max abs" in caught.value.message
    assert "golden logits" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_that_cannot_run_fails_the_gate(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        pipeline.export(spec(shallow, tmp_path / "bundle"))
    assert caught.value.code == "parity.crashed"
    assert "[bundle.truncated]" in caught.value.message
    assert "edgecap.core" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_a_map_that_parts_a_little_passes_in_one_step_and_not_in_many(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = references.collect

    def export(name: str, every: int) -> Certificate | None:
        def altered(*arguments: Any) -> ReferenceOutputs:
            found = real(*arguments)
            rows = found.attention[::every]  # [m,P]
            noise = np.random.default_rng(0).normal(size=rows.shape)
            noise *= 0.2 * np.linalg.norm(rows, axis=-1, keepdims=True) / np.sqrt(rows.shape[-1])
            rows += noise.astype(np.float32)  # a cosine of 0.98
            return found

        monkeypatch.setattr(references, "collect", altered)
        calibration = CalibrationSpec(images=16)
        changes = {"precision": "w8a8", "calibration": calibration}
        return pipeline.export(spec(shallow, tmp_path / name, **changes)).certificate

    certificate = export("rare", 10_000)
    assert certificate is not None
    (least,) = (o.cosine for o in certificate.outputs if o.output == "attention")
    assert 0.95 < least < CLOSE
    with pytest.raises(GateError) as caught:
        export("many", 10)
    assert "close_attention: 9" in caught.value.message
    assert "cosine" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["rare"]


def without_w8a8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage the text embeddings of w8a8 bundles, and of no others."""
    real = to_onnx.export

    def export(model: CaptionModel, spec: ExportSpec, *rest: Any) -> dict[str, Function]:
        broken = copy.deepcopy(model)
        if spec.precision == "w8a8":
            print("a converter's words")
            with torch.no_grad():
                broken.text_embedding.weight.add_(torch.randn(32, 64))
        return real(broken, spec, *rest)

    monkeypatch.setattr(to_onnx, "export", export)


def test_int8_is_w8_where_w8a8_is_not_close_enough(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_w8a8(monkeypatch)
    lines: list[str] = []
    small, failed = CalibrationSpec(images=16), tmp_path / "failed"
    request = spec(shallow, tmp_path / "b", precision="int8", calibration=small, keep_failed=failed)
    done = pipeline.export(request, lines.append)
    assert done.certificate is not None and done.certificate.verdict == "pass"
    assert done.manifest.precision == "w8" and read_plan(done.path / "plan.json").precision == "w8"
    (line,) = [line for line in lines if "because" in line]
    assert line.startswith("onnx: w8, because") and "w8a8 is not close enough" in line
    assert "text_embedding: max abs" in line and "\n" not in line
    assert lines.count("calibrating on 16 images") == lines.count("running PyTorch") == 1
    # What failed is kept, complete: it opens, runs, and says what was wrong.
    assert [path.name for path in failed.iterdir()] == ["tiny-onnx-w8a8"]
    kept = open_bundle(failed / "tiny-onnx-w8a8", verify="full")
    assert certificate_from_json(kept.json("parity.json")).verdict == "fail"
    assert (kept.path / "converter-log.txt").is_file()
    image = np.zeros((50, 80, 3), np.uint8)
    assert len(load(kept.path).caption(image, max_length=3)) == 1


@pytest.mark.full
def test_w8a8_by_its_name_is_strict_and_keeps_nothing(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_w8a8(monkeypatch)
    request = spec(
        shallow, tmp_path / "b", precision="w8a8", calibration=CalibrationSpec(images=16)
    )
    with pytest.raises(GateError) as caught:
        pipeline.export(request)
    assert caught.value.code == "parity.failed" and "--keep-failed" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_failed_bundles_is_looked_at_first(shallow: Path, tmp_path: Path) -> None:
    for folder, code in ((tmp_path / "b" / "in", "output.inside"), (tmp_path, "output.exists")):
        (tmp_path / "tiny-onnx-fp32").mkdir(exist_ok=True)
        with pytest.raises(InputError) as caught:
            prepare(spec(shallow, tmp_path / "b", keep_failed=folder))
        assert caught.value.code == code


@pytest.mark.full
def test_a_certificate_says_where_captions_diverge_and_what_ran(
    shallow: Path, tmp_path: Path
) -> None:
    small = CalibrationSpec(images=16)
    request = spec(shallow, tmp_path / "b", precision="w8a8", calibration=small, scenes=32)
    certificate = pipeline.export(request).certificate
    assert certificate is not None
    (tokens,) = (a.agreement for a in certificate.agreements if a.what == "tokens")
    assert len(certificate.divergences) == round((1 - tokens) * 32)
    assert all(one.margin >= 0 and one.step >= 0 for one in certificate.divergences)
    assert {"python", "numpy", "pillow", "edgecap", "onnxruntime"} == set(certificate.versions)
    assert certificate.target == f"onnxruntime {certificate.versions['onnxruntime']} w8a8"


@pytest.mark.parametrize(
    ("got", "expected", "step"),
    [([1, 2], [1, 2], None), ([1, 3], [1, 2], 1), ([1], [1, 2], 1), ([1, 2, 3], [1, 2], 2)],
)
def test_captions_diverge_at_the_first_token_that_differs(
    got: list[int], expected: list[int], step: int | None
) -> None:
    assert first_difference(got, expected) == step


def test_bounds_of_logits_follow_their_scale() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 300)).astype(np.float32)
    shift = np.linspace(-80, 80, 50, dtype=np.float32)[:, None]
    assert abs(spread_of(rows) - 1) < 0.05
    assert abs(spread_of(40 * rows + shift) - 40 * spread_of(rows)) < 1e-2
    small, large = (BOUNDS["w8"].outputs(spread_of(scale * rows)) for scale in (1, 40))
    assert abs(large["logits"].max_abs / small["logits"].max_abs - 40) < 1e-2
    assert large["attention"] == small["attention"]
