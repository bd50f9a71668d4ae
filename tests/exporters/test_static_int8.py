"""One plan, two formats: integer kernels where the plan says so, and the simulation's numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_quant import Calibrated, calibrated

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.exporters.contract import Function, functions
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import convert as to_tflite
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.exporters.treatment import PlanLookup
from edgecap.quant.plan import Layer
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.quant import ReferenceSubject, simulate, smooth
from edgecap.runtime.backends.onnx import session_options

LAYERS = 2
DRAWS = 4  # of inputs, to average over
STATIC = dict.fromkeys(("encode_image", "decode", "encode_text"), 4 * LAYERS)
DYNAMIC = {"encode_image": 1, "decode": 1, "encode_text": 1}  # the heads
WIDENED = {"encode_image": 1, "decode": 0, "encode_text": 0}  # patches
WIDER = {"blocks.0.mlp_out": "w8", "blocks.1.qkv": "fp32"}


WEIGHTS_ALONE = {"token": "w8_dequant", "blocks.0.qkv": "w8_dequant"}


@dataclass(frozen=True)
class Written:
    """One plan and what the exporters made of it; `mixed` keeps the layers of WIDER wider."""

    made: Calibrated
    smoothed: CaptionModel
    graphs: to_onnx.Traced
    data: bytes
    directory: Path

    def write(self, name: str, **kinds: str) -> tuple[Path, Any]:
        """Files of both formats in a directory, and the plan they obey."""
        layers = self.made.plan.layers | {n: Layer(kind, {}) for n, kind in kinds.items()}
        plan = replace(self.made.plan, layers=layers)
        directory = self.directory / name
        directory.mkdir()
        treat = PlanLookup(plan, ReferenceSubject(self.smoothed))
        to_onnx.write(self.graphs, plan.precision, directory, plan)
        to_tflite.write(self.data, plan.precision, directory, treat)
        return directory, plan


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    made = calibrated()
    smoothed = smooth(made.model, made.plan.smoothing)
    with quiet():
        graphs = to_onnx.convert(functions(smoothed, by_element=False), Parameters(smoothed))
        data = to_tflite.convert(functions(smoothed, by_element=True))
    return Written(made, smoothed, graphs, data, tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def w8a8(written: Written) -> tuple[Path, Any]:
    return written.write("w8a8")


@pytest.fixture(scope="module")
def mixed(written: Written) -> tuple[Path, Any]:
    return written.write("mixed", **WIDER)


@pytest.fixture(scope="module")
def widened(written: Written) -> tuple[Path, Any]:
    return written.write("widened", **WEIGHTS_ALONE)


def optimised(directory: Path, name: str) -> tuple[Counter[str], list[str]]:
    """Operators of the graph that onnxruntime really runs, and its float matrix weights."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(directory / f"{name}.optimised")
    onnxruntime.InferenceSession(str(directory / f"{name}.onnx"), options)
    graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
    floats = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    plain = ("MatMul", "FusedMatMul", "Gemm")
    float_weights = [n.op_type for n in graph.node if n.op_type in plain and n.input[1] in floats]
    return Counter(node.op_type for node in graph.node), float_weights


@pytest.mark.parametrize("name", STATIC)
def test_onnxruntime_runs_integer_kernels_only(w8a8: tuple[Path, Any], name: str) -> None:
    operators, float_weights = optimised(w8a8[0], name)
    assert operators["QLinearMatMul"] == STATIC[name]
    assert operators["MatMulInteger"] == DYNAMIC[name]
    assert float_weights == []


# encode also sums floats, whose last bit depends on B; hosts give it one image a call.
@pytest.mark.parametrize("name", ["decode", "encode_text"])
def test_onnx_heads_round_each_item_of_a_call_as_if_alone(
    written: Written, w8a8: tuple[Path, Any], name: str
) -> None:
    (function,) = (f for f in functions(written.made.model, by_element=False) if f.name == name)
    rng = np.random.default_rng(5)
    items = [
        {key: drawn(rng, example) for key, example in function.inputs.items()} for _ in range(3)
    ]
    together = {key: np.concatenate([item[key] for item in items]) for key in function.inputs}
    session = onnxruntime.InferenceSession(
        str(w8a8[0] / f"{name}.onnx"), session_options(onnxruntime)
    )
    outputs = session.run(None, together)
    for b, item in enumerate(items):
        for output, alone in zip(outputs, session.run(None, item), strict=True):
            np.testing.assert_array_equal(output[b : b + 1], alone)


def test_kept_layers_stay_wider_in_onnx(mixed: tuple[Path, Any]) -> None:
    assert mixed[1].precision == "mixed"
    operators, float_weights = optimised(mixed[0], "decode")
    assert operators["QLinearMatMul"] == STATIC["decode"] - 2
    assert operators["DynamicQuantizeMatMul"] + operators["MatMulIntegerToFloat"] == 2
    assert float_weights == ["MatMul"]


def connected(directory: Path) -> dict[str, Counter[str]]:
    """By function: types of (input, weights, output) of its FULLY_CONNECTED."""
    module = tflite_graph.schema()
    tree = tflite_graph.read((directory / "model.tflite").read_bytes())
    names = {value: key for key, value in vars(module.TensorType).items()}
    found: dict[str, Counter[str]] = {}
    for signature in tree.signatureDefs:
        subgraph = tree.subgraphs[signature.subgraphIndex]
        graph, tensors = tflite_graph.Graph(tree, subgraph), subgraph.tensors
        found[signature.signatureKey.decode()] = Counter(
            " ".join(names[tensors[i].type] for i in (*o.inputs[:2], o.outputs[0]))
            for o in subgraph.operators
            if graph.code(o) == module.BuiltinOperator.FULLY_CONNECTED
        )
        for entry in (*signature.inputs, *signature.outputs):
            assert tensors[entry.tensorIndex].type != module.TensorType.INT8
    return found


def test_tflite_connects_int8_to_int8(w8a8: tuple[Path, Any], mixed: tuple[Path, Any]) -> None:
    static, dynamic, wide = "INT8 INT8 INT8", "FLOAT32 INT8 FLOAT32", "FLOAT32 FLOAT32 FLOAT32"
    assert connected(w8a8[0]) == {
        n: +Counter({static: STATIC[n], dynamic: DYNAMIC[n], wide: WIDENED[n]}) for n in STATIC
    }
    assert connected(mixed[0])["decode"] == {static: STATIC["decode"] - 2, dynamic: 2, wide: 1}


# onnxruntime rounds the input of a w8 layer by the whole tensor, the simulation by the row; the
# heads of w8a8 see one row.
@pytest.mark.parametrize(("which", "share"), [("w8a8", 3e-3), ("mixed", 3e-2), ("widened", 3e-3)])
def test_both_formats_give_what_the_simulation_gives(
    written: Written, which: str, share: float, request: pytest.FixtureRequest
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    directory, plan = request.getfixturevalue(which)
    simulated = simulate(written.made.model, plan)
    rng = np.random.default_rng(3)
    interpreter = Interpreter(str(directory / "model.tflite"), num_threads=1)
    for function in functions(written.made.model, by_element=False):
        session = onnxruntime.InferenceSession(
            str(directory / f"{function.name}.onnx"), session_options(onnxruntime)
        )
        runner = interpreter.get_signature_runner(function.name)
        off: dict[tuple[str, str], list[float]] = {}
        for _ in range(DRAWS):
            feeds = {name: drawn(rng, example) for name, example in function.inputs.items()}
            wanted = answers(simulated, function, feeds)
            exact = answers(written.made.model, function, feeds)
            ort = dict(zip(function.outputs, session.run(None, feeds), strict=True))
            tflite = runner(**feeds)
            for name, value, float_ in zip(function.outputs, wanted, exact, strict=True):
                for engine, got in (("onnx", ort[name]), ("tflite", tflite[name])):
                    error = np.abs(got - value).mean() / np.abs(value).mean()
                    off.setdefault((engine, name), []).append(float(error))
                if not name.removeprefix("new_").startswith("v_"):  # smoothing scales its channels
                    assert np.abs(value - float_).mean() > 1e-6
        # Sums of floats differ in their last bit, and then a number may round the other way. On
        # average that is little beside what the rounding itself costs.
        for which_, errors in off.items():
            assert np.mean(errors) <= share, which_


def answers(model: Any, function: Function, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the model's own function says, which has the state of all layers in two tensors."""
    given = {name: torch.from_numpy(value) for name, value in feeds.items()}
    state = [[given.pop(name) for name in feeds if name[:2] == f"{side}_"] for side in "kv"]
    with torch.inference_mode():
        out = getattr(model, function.name)(*given.values(), *map(torch.stack, filter(None, state)))
    parts = [
        list(value) if value.ndim == 5 else [value]
        for value in (out if isinstance(out, tuple) else (out,))
    ]
    return [value.numpy() for each in parts for value in each]


def drawn(rng: np.random.Generator, example: torch.Tensor) -> np.ndarray:
    """A random input like an example."""
    shape = tuple(example.shape)
    if example.dtype == torch.uint8:
        return rng.integers(0, 256, shape).astype(np.uint8)
    if example.dtype == torch.int32:
        return rng.integers(1, 20, shape).astype(np.int32)
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("which", ["w8a8", "widened"])
def test_weights_are_stored_once(
    written: Written, which: str, request: pytest.FixtureRequest
) -> None:
    directory, _ = request.getfixturevalue(which)
    matrices = sum(p.numel() for p in written.smoothed.parameters() if p.ndim == 2)
    stored = (directory / "weights.bin").stat().st_size
    assert matrices <= stored <= matrices + 100_000
    tflite = (directory / "model.tflite").stat().st_size
    assert tflite <= matrices + 260_000  # with three graphs


def test_processors_that_overflow_have_exact_kernels(w8a8: tuple[Path, Any]) -> None:
    """onnxruntime then widens every weight to uint8, which fails where two share a zero point."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    for name in STATIC:
        onnxruntime.InferenceSession(str(w8a8[0] / f"{name}.onnx"), options)


def test_weights_that_a_converter_changed_are_refused(written: Written) -> None:
    treat = PlanLookup(written.made.plan, ReferenceSubject(written.smoothed))
    with pytest.raises(UnsupportedError) as caught:
        treat.linear(np.ones((4, 4), np.float32), "decode")
    assert caught.value.code == "plan.weights_changed"
    assert treat.table(np.ones((4, 4), np.float32)).kind == "fp32"


def test_a_plan_without_the_grids_of_a_function_is_refused(written: Written) -> None:
    layer = written.made.plan.layers["blocks.0.qkv"]
    short = Layer("w8a8", {"decode": layer.functions["decode"]})
    layers = written.made.plan.layers | {"blocks.0.qkv": short}
    treat = PlanLookup(
        replace(written.made.plan, layers=layers), ReferenceSubject(written.smoothed)
    )
    weight = written.smoothed.blocks[0].qkv.weight.numpy()
    assert treat.linear(weight, "decode").grids == layer.functions["decode"]
    with pytest.raises(InputError, match="no grids for blocks.0.qkv in encode_text"):
        treat.linear(weight, "encode_text")
