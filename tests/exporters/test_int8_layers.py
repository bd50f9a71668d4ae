"""Every form in which a converter writes a linear layer, as int8: nothing around it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgecap.core.errors import UnsupportedError
from edgecap.exporters.onnx import int8 as onnx_int8
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.exporters.tflite import int8 as tflite_int8
from edgecap.exporters.treatment import WeightScheme
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations

M, K, N = 5, 64, 48
GRIDS = Activations(QuantParams(0.03, 0), QuantParams(8.0, 0))
KINDS = ("w8", "w8_dequant", "w8a8")


class Everything:
    """All layers of one kind."""

    def __init__(self, kind: str) -> None:
        self.scheme = WeightScheme(kind, GRIDS if kind == "w8a8" else None)

    def linear(self, weight: np.ndarray, function: str, name: str = "") -> WeightScheme:
        return self.scheme

    def table(self, weight: np.ndarray, name: str = "") -> WeightScheme:
        return self.scheme


def graph(nodes: list[Any], shape: list[int], out: list[int], **constants: np.ndarray) -> Any:
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "main",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def run(model: Any, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    answer: np.ndarray = session.run(None, {"x": x})[0]
    return answer


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(got: np.ndarray, wanted: np.ndarray) -> None:
    """Within what rounding to 8 bits costs; what is lost here is as large as the outputs."""
    assert np.abs(got - wanted).max() < 0.06 * np.abs(wanted).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "form",
    [{}, {"alpha": 0.5}, {"beta": 3.0}, {"transA": 1}, {"transB": 1, "alpha": 2.0, "beta": 0.25}],
    ids=str,
)
@pytest.mark.parametrize("bias", [True, False])
def test_gemm_keeps_all_it_does(kind: str, form: dict[str, Any], bias: bool) -> None:
    x, weight = normal(1, M, K), normal(2, K, N)
    given = x.T.copy() if form.get("transA") else x
    constants = {"w": weight.T.copy() if form.get("transB") else weight}
    if bias:
        constants["c"] = 20 * normal(3, N)
    model = graph(
        [helper.make_node("Gemm", ["x", *constants], ["y"], **form)],
        list(given.shape),
        [M, N],
        **constants,
    )
    wanted = run(model, given)
    onnx_int8.quantise(model, "decode", Everything(kind))
    onnx.checker.check_model(model)
    assert any(t.data_type == TensorProto.INT8 for t in model.graph.initializer)
    close(run(model, given), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_the_add_behind_a_matmul_stays(kind: str) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "c"], ["y"]),
    ]
    model = graph(nodes, [2, M, K], [2, M, N], w=normal(2, K, N), c=20 * normal(3, N))
    x = normal(1, 2, M, K)
    wanted = run(model, x)
    onnx_int8.quantise(model, "decode", Everything(kind))
    close(run(model, x), wanted)


def test_products_of_constants_of_other_ranks_stay_float() -> None:
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [2, M, K], [2, M, N], w=normal(2, 2, K, N)
    )
    before = model.SerializeToString()
    onnx_int8.quantise(model, "decode", Everything("w8"))
    assert model.SerializeToString() == before


def test_a_convolution_keeps_its_bias_and_strides() -> None:
    conv = helper.make_node("Conv", ["x", "w", "c"], ["y"], strides=[8, 8], kernel_shape=[8, 8])
    model = graph([conv], [1, 3, 32, 32], [1, N, 4, 4], w=normal(2, N, 3, 8, 8), c=9 * normal(3, N))
    x = normal(1, 1, 3, 32, 32)
    wanted = run(model, x)
    with pytest.raises(UnsupportedError, match="can be w8_dequant or fp32"):
        onnx_int8.quantise(onnx.ModelProto.FromString(model.SerializeToString()), "encode",
                           Everything("w8a8"))  # fmt: skip
    onnx_int8.quantise(model, "encode", Everything("w8_dequant"))
    assert all(t.data_type != TensorProto.FLOAT or t.dims == [N] for t in model.graph.initializer)
    close(run(model, x), wanted)


@pytest.mark.parametrize("shape", [[3], [2, 3], [2, 3, 2]])
def test_lookups_of_any_rank(shape: list[int]) -> None:
    table = normal(2, 50, 16)
    nodes = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Add", ["ids", "none"], ["moved"]),  # so that its rank is not known
        helper.make_node("Gather", ["t", "moved"], ["a"]),
        helper.make_node("Gather", ["t", "ids"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    model = graph(nodes, shape, [*shape, 16], t=table, none=np.int64(0).reshape(()))
    x = np.random.default_rng(0).integers(0, 50, shape).astype(np.float32)
    wanted = run(model, x)
    onnx_int8.quantise(model, "decode", Everything("w8"))
    assert sum(list(t.dims) == [16, 50] for t in model.graph.initializer) == 1
    close(run(model, x), wanted)


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
        seen = self.patch(x).flatten(2).transpose(1, 2)  # [B,P,K]
        return self.second(torch.tanh(self.first(seen)))


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
        def linear(self, weight: np.ndarray, function: str, name: str = "") -> WeightScheme:
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
        wanted = module(x).numpy()
    close(got, wanted)
    code = tflite_graph.schema().BuiltinOperator
    graph_ = tflite_graph.Graph(tree, tree.subgraphs[0])
    codes = [graph_.code(operator) for operator in tree.subgraphs[0].operators]
    assert codes.count(code.FULLY_CONNECTED) == 2 and codes.count(code.CONV_2D) == 1
    assert codes.count(code.ADD) == 3
