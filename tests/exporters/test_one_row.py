"""The numbers of one-row products, as vectors on the row: the same results, other operations."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgecap.exporters.contract import Function
from edgecap.exporters.onnx.convert import convert, write
from edgecap.exporters.onnx.parameters import Parameters

K = 16


class Attention(nn.Module):
    """Scores q k^T with the usual factor, where `form` says."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        scale = K**-0.5
        if self.form == "query":
            return (q * scale) @ k.transpose(-1, -2)
        if self.form == "scores":
            return (q @ k.transpose(-1, -2)) / (1 / scale)
        if self.form == "both":
            return (q * scale**0.5) @ (k * scale**0.5).transpose(-1, -2)
        if self.form == "read twice":
            scores = q @ k.transpose(-1, -2)
            return scores * scale + scores
        return nn.functional.scaled_dot_product_attention(q, k, k)


def graph(form: str, rows: int, folder: Path) -> tuple[onnx.ModelProto, float]:
    """The exported graph, and its largest difference to PyTorch."""
    module = Attention(form).eval()
    inputs = {"q": torch.zeros(1, 2, rows, K), "k": torch.zeros(1, 2, 9, K)}
    function = Function("attend", module, inputs, ("out",), {"q": 0, "k": 0, "out": 0})
    write(convert([function], Parameters(module), verified=False), "fp32", folder)
    values = function.random_inputs()
    session = onnxruntime.InferenceSession(str(folder / "attend.onnx"))
    (found,) = session.run(None, values)
    return onnx.load(folder / "attend.onnx"), np.abs(found - function.eager(values)["out"]).max()


def factors(model: onnx.ModelProto) -> list[list[int]]:
    """The shapes of the constants that something is multiplied with or divided by."""
    shapes = {one.name: list(one.dims) for one in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in ("Mul", "Div")]
    return [shapes[name] for node in nodes for name in node.input if name in shapes]


@pytest.mark.parametrize("form", ["query", "scores", "both", "attention"])
def test_numbers_go_to_the_row_as_one_vector(form: str, tmp_path: Path) -> None:
    model, apart = graph(form, 1, tmp_path)
    assert factors(model) == [[K]]
    assert apart < 1e-5


def test_a_product_that_others_read_keeps_its_number(tmp_path: Path) -> None:
    model, apart = graph("read twice", 1, tmp_path)
    assert factors(model) == [[]]
    assert apart < 1e-5


def test_many_rows_are_left_alone(tmp_path: Path) -> None:
    model, apart = graph("query", 5, tmp_path)
    assert factors(model) == [[]]
    assert apart < 1e-5
