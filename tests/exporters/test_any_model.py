"""A tiny BLIP and a tiny GIT through the quantiser and the converters, against PyTorch and against
what others' dynamic int8 makes of the same graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_checkpoints import MAKERS, make

from edgecap.bundle.interface import Interface
from edgecap.exporters import verify
from edgecap.exporters.contract import Function, ready
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import convert as to_tflite
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.exporters.treatment import PlanLookup
from edgecap.models import checkpoint, registry
from edgecap.quant.agreement import agree
from edgecap.quant.calibrate import calibrate
from edgecap.quant.captions import CaptionSet, collect_captions
from edgecap.quant.plan import Plan, read_plan, write_plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.quant.simulate import simulate
from edgecap.quant.smooth import smooth
from edgecap.quant.subject import FunctionSubject, subject_of
from edgecap.runtime.backends.onnx import session_options
from edgecap.runtime.image_processing import ModelInput

Answers = dict[str, dict[str, np.ndarray]]  # function -> output -> value


@dataclass
class Family:
    """A tiny checkpoint on its way through the quantiser; `smoothed` is what is converted."""

    subject: FunctionSubject
    interface: Interface
    captions: CaptionSet
    plans: dict[str, Plan]
    directory: Path

    @cached_property
    def smoothed(self) -> Any:
        return smooth(self.subject, self.plans["w8a8"].smoothing)

    @cached_property
    def float_(self) -> tuple[Function, ...]:
        return ready(self.smoothed.functions, self.interface)

    @cached_property
    def onnx(self) -> to_onnx.Traced:
        with quiet():
            return to_onnx.convert(self.float_, Parameters(self.smoothed.model))

    @cached_property
    def tflite(self) -> bytes:
        with quiet():
            return to_tflite.convert(self.float_)

    @cached_property
    def inputs(self) -> dict[str, dict[str, np.ndarray]]:
        """One image, and the second step of its caption: what int8 grids were made for."""
        feeds = {f.name: f.random_inputs(5) for f in self.float_}
        feeds["encode"]["image"] = self.captions.images[0].pixels
        state = self.float_[0].eager(feeds["encode"])
        text = {e.name for e in self.interface.entries("text")}
        step = feeds["decode"]
        step |= {name: value for name, value in state.items() if name in step}
        step |= {name: np.zeros_like(step[name]) for name in text}
        step["position"][:] = 0
        step["token"][:] = self.captions.captions[0][0]
        return feeds

    def answers(self, functions: tuple[Function, ...]) -> Answers:
        return {f.name: f.eager(self.inputs[f.name]) for f in functions}

    def write(self, precision: str, format_: str) -> tuple[Path, Answers]:
        """Files of one format in a directory, and what they answer."""
        directory = self.directory / f"{format_}-{precision}"
        directory.mkdir(exist_ok=True)  # the float one serves the others' int8 too
        plan = self.plans.get(precision)
        if format_ == "onnx":
            to_onnx.write(self.onnx, precision, directory, plan)
            return directory, self.run_onnx(directory)
        treat = None if plan is None else PlanLookup(plan, self.smoothed)
        to_tflite.write(self.tflite, precision, directory, treat)
        data = (directory / "model.tflite").read_bytes()
        return directory, self.run_tflite(data)

    def run_onnx(self, directory: Path) -> Answers:
        found = {}
        for function in self.float_:
            session = onnxruntime.InferenceSession(
                str(directory / f"{function.name}.onnx"), session_options(onnxruntime)
            )
            values = session.run(None, self.inputs[function.name])
            found[function.name] = dict(zip(function.outputs, values, strict=True))
        return found

    def run_tflite(self, data: bytes) -> Answers:
        runs = {f.name: verify.tflite_runner(data, f) for f in self.float_}
        return {name: dict(run(self.inputs[name])) for name, run in runs.items()}


@pytest.fixture(scope="module", params=["blip", pytest.param("git", marks=pytest.mark.full)])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    torch.set_num_threads(1)
    name, directory = request.param, tmp_path_factory.mktemp(request.param)
    checkpoint_ = make(name, next(iter(MAKERS[name])), tmp_path_factory.mktemp("checkpoint"))
    adapter: Any = registry.load(checkpoint.open_checkpoint(checkpoint_), 32)
    with torch.no_grad():  # as after training: converters fold a norm's gain where its bias is 0
        for module in adapter.model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.add_(0.1 * torch.randn_like(module.weight))
                module.bias.add_(0.1 * torch.randn_like(module.bias))
    subject = subject_of(adapter.functions(), adapter.quant, adapter.interface.dims["V"])
    size = (16, *adapter.image_size, 3)
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    images = [ModelInput(image[None], (0, 0)) for image in noise]
    prompt = next(iter(adapter.generation.prompts.values()))
    captions = collect_captions(
        subject.functions, adapter.interface, images, prompt, adapter.generation.end, 12
    )
    plans = {
        precision: calibrate(
            subject,
            captions,
            CalibrationSpec(images=16, observer="minmax"),
            model=name,
            weights="0" * 64,
            precision=precision,
        )
        for precision in ("w8", "w8a8")
    }
    return Family(subject, adapter.interface, captions, plans, directory)


def error(got: Answers, expected: Answers, output: str = "logits") -> float:
    """The largest difference, in units of the output's spread."""
    value = expected["decode"][output]
    return float(np.abs(got["decode"][output] - value).max() / value.std())


def test_captions_are_those_of_the_model_and_replay_agrees_with_itself(family: Family) -> None:
    functions = family.subject.functions
    again = agree(
        zip(family.captions.replay(functions, "a"), family.captions.replay(functions, "b"),
            strict=True)
    )  # fmt: skip
    assert again.steps == sum(len(c) - 1 for c in family.captions.captions)
    assert again.top1 == 1 and again.divergence == 0
    # Replayed, every caption chooses its own next token.
    logits, _ = next(family.captions.first(1).replay(functions, "one"))
    prompt = len(family.captions.captions[0]) - len(logits)
    assert logits.argmax(-1).tolist() == family.captions.captions[0][prompt:]


def test_plans_of_any_model(family: Family, tmp_path: Path) -> None:
    for precision, plan in family.plans.items():
        assert plan.precision == precision
        write_plan(plan, tmp_path / "plan.json")
        assert read_plan(tmp_path / "plan.json") == plan
    kinds = {name: layer.kind for name, layer in family.plans["w8a8"].layers.items()}
    assert [n for n, k in kinds.items() if k == "w8_dequant"] == [
        n for n, info in family.subject.layers.items() if info.operation == "conv2d"
    ]
    dynamic = [name for name, kind in kinds.items() if kind == "w8"]
    assert len(dynamic) == 1  # the head
    assert (
        family.subject.layers[dynamic[0]].parameter(family.subject.model).shape[0]
        == (family.interface.dims["V"])
    )
    assert family.plans["w8a8"].smoothing


def test_smoothing_changes_nothing_and_shares_the_rest(family: Family) -> None:
    original = ready(family.subject.functions, family.interface)
    assert error(family.answers(family.float_), family.answers(original)) < 1e-4
    old = dict(family.subject.model.named_parameters())
    new = dict(family.smoothed.model.named_parameters())
    own = {name for name in old if new[name] is not old[name]}
    assert own and len(own) < len(old) / 2


@pytest.mark.parametrize("format_", ["onnx", pytest.param("tflite", marks=pytest.mark.full)])
def test_every_precision_is_close_and_no_worse_than_others(
    family: Family, format_: str, tmp_path: Path
) -> None:
    expected = family.answers(family.float_)
    sizes, errors = {}, {}
    for precision in ("fp32", "fp16", "w8", "w8a8"):
        directory, got = family.write(precision, format_)
        errors[precision] = error(got, expected)
        sizes[precision] = sum(f.stat().st_size for f in directory.iterdir())
    theirs: Callable[..., tuple[int, Answers]] = _ort if format_ == "onnx" else _ai_edge
    size, got = theirs(family, tmp_path)
    other = error(got, expected)
    assert errors["fp32"] < 1e-3 and errors["fp16"] < 0.02
    assert errors["w8"] <= 1.25 * other  # one random step: luck counts
    assert errors["w8a8"] <= 3 * other  # fixed grids instead of one for each call
    assert sizes["w8"] < size
    assert sizes["w8"] < sizes["fp16"] < sizes["fp32"]


@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_engines_compute_what_the_simulation_does(family: Family, format_: str) -> None:
    simulated = ready(simulate(family.subject, family.plans["w8a8"]), family.interface)
    expected, exact = family.answers(simulated), family.answers(family.float_)
    _, got = family.write("w8a8", format_)
    for name, outputs in expected.items():
        for output, value in outputs.items():
            cost = np.abs(value - exact[name][output]).mean()
            off = np.abs(got[name][output] - value).mean()
            assert off <= 0.3 * cost + 1e-5, (name, output)


def _ort(family: Family, directory: Path) -> tuple[int, Answers]:
    """onnxruntime's dynamic int8, per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain, _ = family.write("fp32", "onnx")
    for file in plain.glob("*.onnx"):
        made = directory / file.name
        with quiet():
            quantize_dynamic(file, made, weight_type=QuantType.QInt8, per_channel=True)
    return sum(f.stat().st_size for f in directory.glob("*.onnx")), family.run_onnx(directory)


def _ai_edge(family: Family, directory: Path) -> tuple[int, Answers]:
    """ai-edge-quantizer's dynamic int8."""
    from ai_edge_quantizer import quantizer, recipe

    tree = tflite_graph.read(family.tflite)
    for i, subgraph in enumerate(tree.subgraphs):  # it wants names, and no two alike
        for j, tensor in enumerate(subgraph.tensors):
            tensor.name = f"tensor_{i}_{j}".encode()
    (directory / "float.tflite").write_bytes(tflite_graph.write(tree))
    with quiet():
        made = quantizer.Quantizer(str(directory / "float.tflite"), recipe.dynamic_wi8_afp32())
        data = bytes(made.quantize().quantized_model)
    return len(data), family.run_tflite(data)
