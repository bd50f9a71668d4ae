"""The way from weights to a bundle: refusals, kills, and a process without torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_export import SCENES, spec
from typer.testing import CliRunner
from without import without

from edgecap.bundle.interface import DECODE_STATEFUL
from edgecap.bundle.io import open_bundle
from edgecap.bundle.schema1 import FUNCTIONS
from edgecap.cli.app import app, main
from edgecap.core.digest import file_sha256
from edgecap.core.errors import InputError, MissingPackageError
from edgecap.exporters import job as pipeline
from edgecap.exporters.coreml.options import CoremlOptions
from edgecap.exporters.estimate import Estimate
from edgecap.exporters.job import prepare
from edgecap.exporters.reference_model import ReferenceSource
from edgecap.exporters.spec import ExportRequest
from edgecap.models.loading import load
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import (
    Activations,
    Calibration,
    Layer,
    Plan,
    fingerprint,
    read_plan,
    write_plan,
)
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.model import weights


@pytest.mark.parametrize(
    ("format_", "precision"), [("onnx", "fp32"), ("tflite", "w8"), ("onnx", "w8a8")]
)
def test_a_bundle_is_complete_certified_and_runs_without_torch(
    tiny: Path, tmp_path: Path, format_: str, precision: str
) -> None:
    out = tmp_path / "bundle"
    lines: list[str] = []
    changes = {"format": format_, "precision": precision}
    if precision != "fp32":
        changes["calibration"] = CalibrationSpec(images=16)
    done = pipeline.export(spec(tiny, out, **changes), lines.append)
    assert done.certificate is not None
    assert done.certificate.verdict == "pass"
    assert done.certificate.scenes == SCENES
    assert any("without torch" in line for line in lines)
    bundle = open_bundle(out)
    assert bundle.manifest.precision == precision
    assert bundle.manifest.model.weights == load(out).weights == file_sha256(tiny)
    assert (bundle.manifest.plan != {}) == ("plan.json" in bundle.manifest.files)
    if precision != "fp32":
        plan = read_plan(out / "plan.json")
        assert plan.precision == precision
        assert plan.calibration.images == bundle.manifest.plan["calibration"]["images"] == 16
    assert {"README.md", "parity.json", "tokenizer.json"} <= set(bundle.manifest.files)
    assert "drawn scenes" in (out / "README.md").read_text()
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from edgecap.runtime import load; import numpy as np\n"
        f"c = load({str(out)!r}).caption(np.zeros((50, 80, 3), np.uint8), max_length=5)\n"
        "assert len(c) == 1 and len(c[0].tokens) <= 5, c\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("precision", "options", "files"),
    [
        ("fp16", CoremlOptions(stateful=True), {"model.mlpackage"}),
        ("fp32", CoremlOptions("iOS16"), {f"{name}.mlpackage" for name in FUNCTIONS}),
    ],
)
def test_coreml_is_judged_by_the_evaluator_its_state_too(
    tiny: Path, tmp_path: Path, precision: str, options: CoremlOptions, files: set[str]
) -> None:
    out = tmp_path / "bundle"
    changes = {"format": "coreml", "precision": precision, "options": (options,)}
    certificate = pipeline.export(spec(tiny, out, **changes)).certificate
    assert certificate is not None and certificate.verdict == "pass"
    assert "evaluator" in certificate.target
    figures = {a.what for a in certificate.agreements} | {o.output for o in certificate.outputs}
    of_the_state = {
        f"{DECODE_STATEFUL} next_token",
        f"{DECODE_STATEFUL} tokens",
        f"{DECODE_STATEFUL} logits",
    }
    assert of_the_state & figures == (of_the_state if options.stateful else set())
    manifest = open_bundle(out).manifest
    assert {function.file for function in manifest.functions.values()} == files
    cache = {"fp16": "float16", "fp32": "float32"}[precision]
    assert [entry.dtype for entry in manifest.interface.state] == [cache, cache]
    captioner = load(out)
    assert captioner.backend == "mlprogram"
    (caption,) = captioner.caption(np.zeros((50, 80, 3), np.uint8), max_length=5)
    assert len(caption.tokens) <= 5


@pytest.mark.full
def test_a_kill_leaves_nothing_under_the_final_name(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "edgecap.cli.app", "export", "-f", "onnx"]
    command += ["-m", str(tiny), "-o", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".bundle.edgecap-*/new/*.onnx")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()


def test_refusals_come_before_any_work(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    stale = tmp_path / "stale.json"
    stale.write_text('{"schema": 0}')
    model = ["-m", str(tiny)]
    refused = {
        "output.exists": ["-f", "onnx", "-o", str(taken), *model],
        "output.foreign": ["-f", "onnx", "-o", str(taken), "--overwrite", *model],
        "format.unknown": ["-f", "onx", *model],
        "precision.unknown": ["-p", "int4", *model],
        "precision.conflict": ["--fp16", "--int8", *model],
        "output.inside": ["-o", str(tmp_path / "x"), "--json", str(tmp_path / "x"), *model],
        "weights.missing": ["-m", str(tmp_path / "none.safetensors")],
        "model.unknown": ["-m", "XXL"],
        "target.unknown": ["-f", "coreml", "--target", "iOS9", *model],
        "coreml.stateful": ["-f", "ios", "--fp32", "--stateful", *model],
        "export.options": ["-f", "onnx", "--stateful", *model],
        "calibration.data": ["-p", "w8a8", "--calib-data", str(tmp_path / "none"), *model],
        "calibration.too_few": ["-p", "w8a8", "--calib-data", str(taken), *model],
        "calibration.number": ["-p", "w8a8", "--num-calib", "3", *model],
        "observer.unknown": ["-p", "w8a8", "--observer", "best", *model],
        "plan.needed": ["-p", "mixed", *model],
        "max_drop.plan": ["--int8", "--max-drop", "1", "--plan", str(stale), *model],
        "plan.conflict": ["-p", "fp16", "--num-calib", "32", *model],
        "plan.missing": ["-p", "w8a8", "--plan", str(tmp_path / "none.json"), *model],
        "plan.schema": ["-p", "w8a8", "--plan", str(stale), *model],
    }

    def opened(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("edgecap.exporters.reference_model.open_model", opened)
    for code, options in refused.items():
        assert main(["export", *options]) == 2, code
        error = capsys.readouterr().err
        assert f"[{code}]" in error
        assert error.count("edgecap:") == 1
    assert (taken / "mine.txt").read_text() == "keep"
    for precision in ("fp16", "w8"):  # neither has grids of activations
        for observer in ("mse", "minmax"):  # what is the default may not be asked for either
            assert main(["export", "-p", precision, "--observer", observer, *model]) == 2
            assert "[plan.conflict]" in capsys.readouterr().err
    both = ["-f", "onnx,tflite", "--fp32", "--overwrite", *model]
    with monkeypatch.context() as patched:
        patched.chdir(tmp_path)
        foreign = tmp_path / f"{tiny.stem}-tflite-fp32"
        foreign.mkdir()
        (foreign / "mine.txt").touch()
        assert main(["export", *both]) == 2
    assert "[output.foreign]" in capsys.readouterr().err
    assert not (tmp_path / f"{tiny.stem}-onnx-fp32").exists()


@pytest.mark.parametrize("manifest", ['{"name": "My app", "icons": []}', "{", "\xff"])
def test_a_web_apps_folder_is_not_overwritten(tiny: Path, tmp_path: Path, manifest: str) -> None:
    app_ = tmp_path / "app"
    app_.mkdir()
    (app_ / "manifest.json").write_text(manifest, "latin-1")
    (app_ / "index.html").write_text("<!doctype html>")
    with pytest.raises(InputError) as caught:
        pipeline.export(spec(tiny, app_, overwrite=True))
    assert caught.value.code == "output.foreign"
    assert sorted(file.name for file in app_.iterdir()) == ["index.html", "manifest.json"]
    assert (app_ / "manifest.json").read_text("latin-1") == manifest


@pytest.mark.parametrize(
    ("format_", "blocked"),
    [
        ("onnx", "onnxscript"),
        ("onnx", "onnxruntime"),
        ("tflite", "litert_torch"),
        ("tflite", "ai_edge_litert"),
        ("coreml", "coremltools"),
        ("coreml", "torch"),
    ],
)
def test_a_missing_converter_or_engine_is_told_before_any_work(
    tiny: Path, tmp_path: Path, format_: str, blocked: str
) -> None:
    out = tmp_path / "bundle"
    done = without({blocked}, "export", "-f", format_, "-m", str(tiny), "-o", str(out))
    assert done.returncode == 2
    assert done.stderr.startswith(f"edgecap: [package.missing] {blocked} is not installed")
    assert "pip install 'edgecap[export]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_engine_is_needed_where_nothing_is_verified(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    prepare(spec(tiny, tmp_path / "bundle", verify=False))
    with pytest.raises(MissingPackageError, match="onnxruntime"):
        prepare(spec(tiny, tmp_path / "bundle"))


def test_a_plan_for_other_weights_or_another_precision_is_refused(
    tiny: Path, tmp_path: Path
) -> None:
    grid = QuantParams(0.1, 0)
    layer = Layer("w8a8", {"encode_image": Activations(grid, grid)})
    measured = Calibration("shipped", 16, 0, "minmax")
    plan = Plan(1, "tiny", fingerprint(tiny), measured, {}, {"blocks.0.qkv": layer}, {})
    path = tmp_path / "plan.json"
    for changed, code, precision in (
        (replace(plan, weights="0" * 64), "plan.weights", "w8a8"),
        (plan, "plan.precision", "mixed"),
        (plan, "plan.conflict", "fp32"),
    ):
        write_plan(changed, path)
        with pytest.raises(InputError) as caught:
            prepare(spec(tiny, tmp_path / "bundle", precision=precision, plan=path))
        assert caught.value.code == code
    both = {"precision": "w8a8", "plan": path, "calibration": CalibrationSpec(seed=1)}
    with pytest.raises(InputError) as caught:
        prepare(spec(tiny, tmp_path / "bundle", **both))
    assert caught.value.code == "plan.conflict"
    # One layer of many, and a smoothed one that no network has.
    write_plan(replace(plan, smoothing={"blocks.99.qkv": (1.0,)}), path)
    with pytest.raises(InputError) as caught:
        pipeline.export(spec(tiny, tmp_path / "bundle", precision="w8a8", plan=path))
    assert caught.value.code == "plan.layers"


def test_several_formats_ask_pytorch_once_and_obey_one_plan(tiny: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    request = ExportRequest(
        model=str(tiny),
        formats=("onnx", "tflite"),
        precision="w8a8",
        output=tmp_path,
        scenes=SCENES,
        calibration=CalibrationSpec(images=16, observer="minmax"),
    )
    made = list(pipeline.run(request, lines.append))
    assert [one.path for one in made] == [
        tmp_path / "tiny-onnx-w8a8",
        tmp_path / "tiny-tflite-w8a8",
    ]
    for once in ("loading tiny.safetensors", "running PyTorch", "calibrating on 16 images"):
        assert lines.count(once) == 1
    plans = [(one.path / "plan.json").read_bytes() for one in made]
    assert plans[0] == plans[1]
    assert read_plan(made[0].path / "plan.json").calibration.observer == "minmax"
    assert all(one.certificate and one.certificate.verdict == "pass" for one in made)


def test_a_full_disk_is_noticed_before_any_work(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = spec(tiny, tmp_path / "new" / "bundle")
    prepare(request)
    monkeypatch.setattr(
        ReferenceSource, "expect", lambda *_: Estimate(size=1 << 60, memory=0, scratch=0)
    )
    with pytest.raises(InputError, match="MB left") as caught:
        prepare(request)
    assert caught.value.code == "output.full"
    assert list(tmp_path.iterdir()) == []


def test_each_large_file_is_hashed_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process; the gate's looks at sizes, as test_io says."""
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return file_sha256(path)

    for module in ("bundle.io", "bundle.checks", "exporters.opened"):
        monkeypatch.setattr(f"edgecap.{module}.file_sha256", counted)
    monkeypatch.setattr("edgecap.bundle.checks.SMALL", 0)
    pipeline.export(spec(tiny, tmp_path / "bundle"))
    assert len(hashed) == len(set(hashed))
    assert {"weights.bin", "decode.onnx", "tiny.safetensors"} <= {path.name for path in hashed}


def test_help_names_the_formats() -> None:
    shown = CliRunner().invoke(app, ["export", "--help"])
    assert shown.exit_code == 0
    assert "onnx" in shown.output


def test_weights_come_back_and_bad_files_are_refused(tiny: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    assert weights.facts(tiny) == {"steps": 0}
    with safe_open(tiny, framework="pt") as file:
        metadata = file.metadata()
    good = load_file(tiny)

    def refuse(code: str, tensors: dict, meta: dict) -> str:
        path = tmp_path / "bad.safetensors"
        save_file(tensors, path, metadata=meta)
        with pytest.raises(InputError) as caught:
            weights.load(path)
        assert caught.value.code == code
        assert "\n" not in str(caught.value)
        return caught.value.message

    assert "row is missing" in refuse(
        "weights.tensors", {n: t for n, t in good.items() if n != "row"}, metadata
    )
    more = good | {"extra": good["row"].clone()}
    assert "extra is unknown" in refuse("weights.tensors", more, metadata)
    assert "has shape" in refuse("weights.tensors", good | {"row": good["row"][:3]}, metadata)
    bad = good["row"].clone()
    bad[0, 0] = torch.nan
    assert "not finite" in refuse("weights.tensors", good | {"row": bad}, metadata)
    refuse("weights.foreign", good, metadata | {"format": "other"})
    config = json.dumps(json.loads(metadata["config"]) | {"surprise": 1})
    refuse("weights.config", good, metadata | {"config": config})
    for data in (b"", tiny.read_bytes()[:5000], b"\x80\x04pickle"):
        path = tmp_path / "cut.safetensors"
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            weights.load(path)
        assert caught.value.code == "weights.unreadable"
