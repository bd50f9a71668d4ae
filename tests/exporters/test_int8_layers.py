"""Every form in which a converter writes a linear layer, as int8: nothing around it is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from edgecap.exporters.contract import Function
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.exporters.tflite import int8 as tflite_int8
from edgecap.exporters.treatment import WeightScheme
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations, Calibration, Layer, Plan
from edgecap.runtime.backends.onnx import session_options

K, N = 64, 48
GRIDS = Activations(QuantParams(0.03, 0), QuantParams(8.0, 0))
UNIT_GRIDS = Activations(QuantParams(1 / 127, 0), GRIDS.output)  # of inputs from -1 to 1
KINDS = ("w8", "w8_dequant", "w8a8")


class Everything:
    """All layers of one kind."""

    def __init__(self, kind: str) -> None:
        self.scheme = WeightScheme(kind, GRIDS if kind == "w8a8" else None)

    def linear(self, weight: np.ndarray, function: str) -> WeightScheme:
        return self.scheme

    def table(self, weight: np.ndarray) -> WeightScheme:
        return self.scheme


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(got: np.ndarray, expected: np.ndarray) -> None:
    """Within what rounding to 8 bits costs; what is lost here is as large as the outputs."""
    assert np.abs(got - expected).max() < 0.06 * np.abs(expected).max()


class Forms(nn.Module):
    """Every way in which torch multiplies with a parameter, with large biases."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, K, 8, 8)
        self.linear = nn.Linear(K, N)
        self.turned = Turned(N, K)
        self.table = nn.Embedding(50, K)
        self.heads = nn.Parameter(torch.randn(2, K, 4))  # of another rank: stays float
        with torch.no_grad():
            for bias in (self.patch.bias, self.linear.bias, self.turned.bias):
                bias.mul_(40)

    def forward(self, image: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        patches = torch.sin(self.patch(image)).flatten(2).transpose(1, 2)  # [B,P,K]
        hidden = torch.tanh(self.linear(patches))  # [B,P,N]
        looked = self.table(ids)  # [B,2,K]
        tied = patches @ self.table.weight.t()  # [B,P,50]
        split = patches[:, None] @ self.heads  # [B,2,P,4]
        one = self.table(ids[:, 0])  # [B,K]
        return self.patch(image), hidden, self.turned(hidden), looked, one, tied, split


class Turned(nn.Module):
    """A linear layer as GPT-2 keeps it: weights [K,N], a Gemm of rows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, x.flatten(0, 1), self.weight)
        return flat.view(*x.shape[:-1], -1)


Turned.__name__ = "Conv1D"  # the name by which the quantiser knows transformers' own


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_keeps_all_that_a_layer_does(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Forms().eval()
    wrapped = nn.Module()
    wrapped.model, wrapped.forward = model, model.forward  # type: ignore[method-assign]
    ids = torch.tensor([[3, 49]])
    names = ("patch", "hidden", "turned", "looked", "one", "tied", "split")
    inputs = {"image": torch.randn(1, 3, 32, 32), "ids": ids}
    function = Function(
        "encode", wrapped, inputs, names, dict.fromkeys((*inputs, *names), 0), {"ids": 50}
    )
    layers = {name: Layer(kind, {}) for name in ("linear", "turned")}
    if kind == "w8a8":
        layers = {name: Layer(kind, {"encode": UNIT_GRIDS}) for name in layers}
    layers |= {"table": Layer("w8", {}), "patch": Layer("w8_dequant", {})}
    plan = Plan(1, "forms", "", Calibration("none", 0, 0, "none"), {}, layers, {})
    with quiet():
        traced = to_onnx.convert([function], Parameters(model))
    to_onnx.write(traced, "mixed", tmp_path, plan)
    session = onnxruntime.InferenceSession(
        str(tmp_path / "encode.onnx"), session_options(onnxruntime)
    )
    for batch in (1, 3):
        feeds = {
            "image": normal(1, batch, 3, 32, 32),
            "ids": np.random.default_rng(batch).integers(0, 50, (batch, 2)),
        }
        got = dict(zip(names, session.run(None, feeds), strict=True))
        with torch.no_grad():
            expected = model(*(torch.from_numpy(value) for value in feeds.values()))
        for name, value in zip(names, expected, strict=True):
            close(got[name], value.numpy())
    graph = onnx.load(str(tmp_path / "encode.onnx"), load_external_data=False).graph
    int8 = [list(t.dims) for t in graph.initializer if t.data_type == TensorProto.INT8 and t.dims]
    assert [K, 50] in int8 and [K, 3, 8, 8] in int8 and [N, K] in int8
    assert [2, K, 4] not in int8


class Biased(nn.Module):
    """Linear layers with large biases behind a convolution with one."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, K, 8, 8)
        self.first = nn.Linear(K, N)
        self.second = nn.Linear(N, K)
        with torch.no_grad():
            for layer in (self.patch, self.first, self.second):
                layer.bias.mul_(40)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)  # [B,P,K]
        return self.second(torch.tanh(self.first(patches)))


@pytest.mark.parametrize("kind", ["w8", "w8_dequant", "w8a8"])
def test_tflite_keeps_biases(kind: str, tmp_path: Path) -> None:
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    torch.manual_seed(0)
    module, x = Biased().eval(), torch.randn(1, 3, 32, 32)
    with quiet():
        litert_torch.signature("encode", module, (x,)).convert().export(str(tmp_path / "a.tflite"))
    tree = tflite_graph.read((tmp_path / "a.tflite").read_bytes())

    class Treat(Everything):
        def linear(self, weight: np.ndarray, function: str) -> WeightScheme:
            conv = weight.shape == (K, 3 * 8 * 8)
            if conv:
                assert np.array_equal(weight, module.patch.weight.detach().flatten(1).numpy())
            return WeightScheme("w8_dequant", None) if conv else self.scheme

    tflite_int8.quantise(tree, Treat(kind))
    (tmp_path / "b.tflite").write_bytes(tflite_graph.write(tree))
    interpreter = Interpreter(str(tmp_path / "b.tflite"), num_threads=1)
    runner = interpreter.get_signature_runner("encode")
    got = next(iter(runner(args_0=x.numpy()).values()))
    with torch.no_grad():
        expected = module(x).numpy()
    close(got, expected)
    code = tflite_graph.schema().BuiltinOperator
    graph_ = tflite_graph.Graph(tree, tree.subgraphs[0])
    codes = [graph_.code(operator) for operator in tree.subgraphs[0].operators]
    assert codes.count(code.FULLY_CONNECTED) == 2 and codes.count(code.CONV_2D) == 1
    assert codes.count(code.ADD) == 3
