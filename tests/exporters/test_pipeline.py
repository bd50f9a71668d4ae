"""The way from weights to a bundle: refusals, kills, and a process without torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
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
from edgecap.exporters.job import Exported, prepare
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


@dataclass(frozen=True)
class Made:
    """Bundles of one export, what it said, and the large files that it hashed in this process."""

    exported: list[Exported]
    lines: list[str]
    hashed: list[Path]


@pytest.fixture(scope="module")
def made(shallow: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Exports to `formats` at a precision, each made once; nobody may change them."""

    @cache
    def get(precision: str, *formats: str) -> Made:
        calibration = CalibrationSpec()
        if precision == "w8":
            calibration = CalibrationSpec(images=16)
        elif precision == "w8a8":
            calibration = CalibrationSpec(images=16, observer="minmax")
        request = ExportRequest(
            model=str(shallow),
            formats=formats,
            precision=precision,
            output=tmp_path_factory.mktemp(precision) / "made",
            scenes=SCENES,
            calibration=calibration,
        )
        lines: list[str] = []
        hashed: list[Path] = []

        def counted(path: Path) -> str:
            hashed.append(path)
            return file_sha256(path)

        with pytest.MonkeyPatch.context() as patched:
            for module in ("bundle.io", "bundle.checks", "exporters.opened"):
                patched.setattr(f"edgecap.{module}.file_sha256", counted)
            patched.setattr("edgecap.bundle.checks.SMALL", 0)
            return Made(list(pipeline.run(request, lines.append)), lines, hashed)

    return get


@pytest.mark.parametrize(
    ("precision", "formats"),
    [
        ("fp32", ("onnx",)),
        ("w8a8", ("onnx", "tflite")),
        # w8 is in test_checkpoints and test_formats too.
        pytest.param("w8", ("tflite",), marks=pytest.mark.full),
    ],
)
def test_a_bundle_is_complete_certified_and_runs_without_torch(
    shallow: Path, made: Callable[..., Made], precision: str, formats: tuple[str, ...]
) -> None:
    export = made(precision, *formats)
    assert any("without torch" in line for line in export.lines)
    for done in export.exported:
        assert done.certificate is not None
        assert done.certificate.verdict == "pass"
        assert done.certificate.scenes == SCENES
        bundle = open_bundle(done.path)
        assert bundle.manifest.precision == precision
        assert bundle.manifest.model.weights == load(done.path).weights == file_sha256(shallow)
        assert (bundle.manifest.plan != {}) == ("plan.json" in bundle.manifest.files)
        if precision != "fp32":
            plan = read_plan(done.path / "plan.json")
            assert plan.precision == precision
            assert plan.calibration.images == bundle.manifest.plan["calibration"]["images"] == 16
        assert {"README.md", "parity.json", "tokenizer.json"} <= set(bundle.manifest.files)
        assert "drawn scenes" in (done.path / "README.md").read_text()
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from edgecap.runtime import load; import numpy as np\n"
        "for path in sys.argv[1:]:\n"
        "    c = load(path).caption(np.zeros((50, 80, 3), np.uint8), max_length=5)\n"
        "    assert len(c) == 1 and len(c[0].tokens) <= 5, c\n"
    )
    paths = [str(done.path) for done in export.exported]
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("precision", "options", "files"),
    [
        ("fp16", CoremlOptions(stateful=True), {"model.mlpackage"}),
        # test_coreml converts for iOS 16 too.
        pytest.param(
            "fp32",
            CoremlOptions("iOS16"),
            {f"{name}.mlpackage" for name in FUNCTIONS},
            marks=pytest.mark.full,
        ),
    ],
)
def test_coreml_is_judged_by_the_evaluator_its_state_too(
    shallow: Path, tmp_path: Path, precision: str, options: CoremlOptions, files: set[str]
) -> None:
    out = tmp_path / "bundle"
    changes = {"format": "coreml", "precision": precision, "options": (options,)}
    certificate = pipeline.export(spec(shallow, out, **changes)).certificate
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
def test_a_kill_leaves_nothing_under_the_final_name(shallow: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "edgecap.cli.app", "export", "-f", "onnx"]
    command += ["-m", str(shallow), "-o", str(out)]
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
    shallow: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    stale = tmp_path / "stale.json"
    stale.write_text('{"schema": 0}')
    model = ["-m", str(shallow)]
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
        foreign = tmp_path / f"{shallow.stem}-tflite-fp32"
        foreign.mkdir()
        (foreign / "mine.txt").touch()
        assert main(["export", *both]) == 2
    assert "[output.foreign]" in capsys.readouterr().err
    assert not (tmp_path / f"{shallow.stem}-onnx-fp32").exists()


@pytest.mark.parametrize("manifest", ['{"name": "My app", "icons": []}', "{", "\xff"])
def test_a_web_apps_folder_is_not_overwritten(shallow: Path, tmp_path: Path, manifest: str) -> None:
    app_ = tmp_path / "app"
    app_.mkdir()
    (app_ / "manifest.json").write_text(manifest, "latin-1")
    (app_ / "index.html").write_text("<!doctype html>")
    with pytest.raises(InputError) as caught:
        pipeline.export(spec(shallow, app_, overwrite=True))
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
    shallow: Path, tmp_path: Path, format_: str, blocked: str
) -> None:
    out = tmp_path / "bundle"
    done = without({blocked}, "export", "-f", format_, "-m", str(shallow), "-o", str(out))
    assert done.returncode == 2
    assert done.stderr.startswith(f"edgecap: [package.missing] {blocked} is not installed")
    assert "pip install 'edgecap[export]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_engine_is_needed_where_nothing_is_verified(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    prepare(spec(shallow, tmp_path / "bundle", verify=False))
    with pytest.raises(MissingPackageError, match="onnxruntime"):
        prepare(spec(shallow, tmp_path / "bundle"))


def test_a_plan_for_other_weights_or_another_precision_is_refused(
    shallow: Path, tmp_path: Path
) -> None:
    grid = QuantParams(0.1, 0)
    layer = Layer("w8a8", {"encode_image": Activations(grid, grid)})
    measured = Calibration("shipped", 16, 0, "minmax")
    plan = Plan(1, "tiny", fingerprint(shallow), measured, {}, {"blocks.0.qkv": layer}, {})
    path = tmp_path / "plan.json"
    for changed, code, precision in (
        (replace(plan, weights="0" * 64), "plan.weights", "w8a8"),
        (plan, "plan.precision", "mixed"),
        (plan, "plan.conflict", "fp32"),
    ):
        write_plan(changed, path)
        with pytest.raises(InputError) as caught:
            prepare(spec(shallow, tmp_path / "bundle", precision=precision, plan=path))
        assert caught.value.code == code
    both = {"precision": "w8a8", "plan": path, "calibration": CalibrationSpec(seed=1)}
    with pytest.raises(InputError) as caught:
        prepare(spec(shallow, tmp_path / "bundle", **both))
    assert caught.value.code == "plan.conflict"
    # One layer of many, and a smoothed one that no network has.
    write_plan(replace(plan, smoothing={"blocks.99.qkv": (1.0,)}), path)
    with pytest.raises(InputError) as caught:
        pipeline.export(spec(shallow, tmp_path / "bundle", precision="w8a8", plan=path))
    assert caught.value.code == "plan.layers"


def test_several_formats_ask_pytorch_once_and_obey_one_plan(made: Callable[..., Made]) -> None:
    export = made("w8a8", "onnx", "tflite")
    paths = [one.path for one in export.exported]
    assert [path.name for path in paths] == ["tiny-onnx-w8a8", "tiny-tflite-w8a8"]
    assert {path.parent.name for path in paths} == {"made"}
    for once in ("loading tiny.safetensors", "running PyTorch", "calibrating on 16 images"):
        assert export.lines.count(once) == 1
    plans = [(path / "plan.json").read_bytes() for path in paths]
    assert plans[0] == plans[1]
    assert read_plan(paths[0] / "plan.json").calibration.observer == "minmax"
    assert all(one.certificate and one.certificate.verdict == "pass" for one in export.exported)


def test_a_full_disk_is_noticed_before_any_work(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = spec(shallow, tmp_path / "new" / "bundle")
    prepare(request)
    monkeypatch.setattr(
        ReferenceSource, "expect", lambda *_: Estimate(size=1 << 60, memory=0, scratch=0)
    )
    with pytest.raises(InputError, match="MB left") as caught:
        prepare(request)
    assert caught.value.code == "output.full"
    assert list(tmp_path.iterdir()) == []


def test_each_large_file_is_hashed_once(made: Callable[..., Made]) -> None:
    """In this process; the gate's looks at sizes, as test_io says."""
    hashed = made("fp32", "onnx").hashed
    assert len(hashed) == len(set(hashed))
    assert {"weights.bin", "decode.onnx", "tiny.safetensors"} <= {path.name for path in hashed}


def test_help_names_the_formats() -> None:
    shown = CliRunner().invoke(app, ["export", "--help"])
    assert shown.exit_code == 0
    assert "onnx" in shown.output


def test_weights_come_back_and_bad_files_are_refused(shallow: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    assert weights.facts(shallow) == {"steps": 0}
    with safe_open(shallow, framework="pt") as file:
        metadata = file.metadata()
    good = load_file(shallow)

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
    for data in (b"", shallow.read_bytes()[:5000], b"\x80\x04pickle"):
        path = tmp_path / "cut.safetensors"
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            weights.load(path)
        assert caught.value.code == "weights.unreadable"
