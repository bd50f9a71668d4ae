"""`edgecap export --max-drop`: what it refuses, and what travels with a plan that it found."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecap.bundle.io import open_bundle
from edgecap.cli.app import main
from edgecap.core.errors import GateError
from edgecap.exporters import reference_plan, searched
from edgecap.exporters.opened import OpenModel, open_model
from edgecap.exporters.reference_plan import ReferencePlanner
from edgecap.exporters.spec import ExportRequest
from edgecap.quant.plan import fingerprint_of, read_plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.extension import Extension
from edgecap.reference.model import weights
from edgecap.reference.model.session import TorchSession, reference_captioner
from edgecap.reference.tokens import LANGUAGES


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--int8", "--max-drop", "-0.1"], "max_drop.range"),
        (["--int8", "--max-drop", "100.5"], "max_drop.range"),
        (["--max-drop", "nan"], "max_drop.range"),
        (["--int8", "--max-drop", "half"], "usage"),
        (["--fp16", "--max-drop", "0.5"], "max_drop.precision"),
        (["--int8", "--fp32", "--max-drop", "0.5"], "max_drop.precision"),
        (["-p", "w8", "--max-drop", "0.5"], "max_drop.precision"),
        (["-p", "w8a8", "--int8", "--max-drop", "0.5"], "max_drop.precision"),
    ],
)
def test_budgets_that_contradict_are_refused(
    options: list[str], code: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "-f", "onnx", "-m", str(tiny), *options]) == 2
    captured = capsys.readouterr()
    assert f"[{code}]" in captured.err and captured.err.count("edgecap:") == 1


class LosesByLayer:
    """Stands in for the judge: a model of random weights names nothing exactly."""

    measure = "exact scenes"

    def __init__(self, network: Any, scenes: Any, languages: Any, extension: Any) -> None:
        self.scores, self.languages = np.ones((64, 8), bool), tuple(languages)

    def score(self, plan: Any, label: str) -> np.ndarray:
        narrow = [layer.kind for layer in plan.hook._plan.layers.values()].count("w8a8")
        return np.arange(512).reshape(64, 8) >= narrow


def takes(name: str, seconds: float, now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function take so long by the clock `now`."""
    module, _, function = name.rpartition(".")
    real = getattr(import_module(module), function)

    def slowly(*args: Any) -> Any:
        now[0] += seconds
        return real(*args)

    monkeypatch.setattr(name, slowly)


def test_a_searched_plan_travels_with_how_it_was_found(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgecap.quant.search.evaluator.TaskEvaluator", LosesByLayer)
    now = [0.0]
    for module in (reference_plan, searched):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    takes("edgecap.quant.calibration_set.collect_calibration", 300, now, monkeypatch)
    monkeypatch.chdir(tmp_path)
    options = ["export", "-f", "onnx", "-m", str(tiny), "--num-calib", "16", "--no-verify"]
    assert main([*options, "--int8", "--max-drop", "1", "--json", "told.json"]) == 0
    told_to_user = capsys.readouterr().err
    assert "chosen: mixed (" in told_to_user and "(300 s with calibration" in told_to_user
    bundle = open_bundle(tmp_path / "tiny-onnx-int8")
    assert bundle.manifest.precision == "mixed" and bundle.manifest.name == "tiny-onnx-mixed"
    assert {"plan.json", "search.json", "pareto.png"} <= set(bundle.manifest.files)
    found = bundle.json("search.json")
    plan = read_plan(bundle.path / "plan.json")
    assert found["plan"] == fingerprint_of(plan)
    assert found["points"][found["chosen"]]["drop"]["points"] <= 1
    assert found["seconds"] == 300
    assert "bit operations" in found["latency"]
    assert bundle.manifest.plan["search"]["max_drop"] == 1
    assert "searched for, within a loss of 1 points" in (bundle.path / "README.md").read_text()
    (told,) = json.loads(Path("told.json").read_text())["bundles"]
    assert told["precision"] == "mixed"
    # Another export obeys the same plan, and its bundle says as much.
    model = open_model("tiny", tiny)
    request = ExportRequest(str(tiny), ("tflite",), "mixed", plan=bundle.path / "plan.json")
    copied = ReferencePlanner(request, model, pytest.fail).choose("mixed")
    assert (copied.plan, copied.summary()) == (plan, bundle.manifest.plan)
    copied.write(tmp_path)
    assert (tmp_path / "pareto.png").read_bytes() == (bundle.path / "pareto.png").read_bytes()
    # Figures about another plan are not taken for this one's.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found["plan"] = "0" * 64
    (tmp_path / "search.json").write_text(json.dumps(found))
    request = replace(request, plan=tmp_path / "plan.json")
    copied = ReferencePlanner(request, model, pytest.fail).choose("mixed")
    assert "search" not in copied.summary()
    copied.write(elsewhere)
    assert [path.name for path in elsewhere.iterdir()] == ["plan.json"]
    # The name is known before the search, so what stands in its way is too.
    assert main([*options, "--int8", "--max-drop", "1"]) == 2
    assert "[output.exists]" in capsys.readouterr().err


def test_an_impossible_budget_exits_1_and_writes_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise GateError("max_drop.impossible", "the best found is w8.")

    monkeypatch.setattr("edgecap.quant.search.search.search", fails)
    out = tmp_path / "bundle"
    options = ["-f", "onnx", "-m", str(tiny), "--num-calib", "16", "--max-drop", "0"]
    assert main(["export", *options, "-o", str(out)]) == 1
    assert "[max_drop.impossible]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_weights_are_judged_in_every_language_that_can_be_read(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecap.quant.search.evaluator.TaskEvaluator", LosesByLayer)
    more = Extension().with_language("sv").with_language("nl")
    network = weights.load(tiny)
    reference = reference_captioner(TorchSession(network), more)
    model = OpenModel("tiny", network, reference, more, "0" * 64, {})
    small = CalibrationSpec(images=16)
    request = ExportRequest(str(tiny), ("coreml",), "mixed", max_drop=1, calibration=small)
    said: list[str] = []
    ReferencePlanner(request, model, said.append).choose("mixed").write(tmp_path)
    found = json.loads((tmp_path / "search.json").read_text())
    assert found["languages"] == [*LANGUAGES, "nl"]
    assert "no scene can be described in sv: losses there are not measured" in said
