"""The step of several tokens, as it leaves the exporters, against the step of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_export import spec

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.exporters.contract import functions
from edgecap.exporters.job import prepare
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.onnx.parameters import Parameters
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import convert as to_tflite
from edgecap.exporters.tflite import graph
from edgecap.exporters.verify import onnx_runner, tflite_runner
from edgecap.reference.model import weights

N = 3


@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_three_tokens_at_once_are_three_steps(tiny: Path, format_: str, tmp_path: Path) -> None:
    model = weights.load(tiny)
    found = functions(model, by_element=format_ == "tflite", extend=N)
    step, several = (next(f for f in found if f.name == name) for name in ("decode", "extend"))
    with quiet():
        if format_ == "onnx":
            to_onnx.write(to_onnx.convert((step, several), Parameters(model)), "fp32", tmp_path)
            one, all_ = (onnx_runner(tmp_path / f"{f.name}.onnx", f) for f in (step, several))
        else:
            data = to_tflite.convert((step, several))
            one, all_ = (tflite_runner(data, f) for f in (step, several))
    inputs = several.random_inputs(1) | {"position": np.array([7], np.int32)}
    together = all_(inputs)
    state = {name: inputs[name].copy() for name in inputs if name[0] in "kv"}  # [B,H,C,K]
    patches = state["k_0"].shape[2] - step.limits["position"]
    for i in range(N):
        token = inputs["tokens"][:, i : i + 1]
        position = inputs["position"] + np.int32(i)
        apart = one({"token": token, "position": position, **state})
        np.testing.assert_allclose(together["logits"][:, i], apart["logits"], atol=1e-4)
        for name, rows in state.items():
            new = apart[f"new_{name}"][:, :, 0]
            np.testing.assert_allclose(together[f"new_{name}"][:, :, i], new, atol=1e-4)
            rows[:, :, patches + 7 + i] = new
    if format_ == "tflite":
        _no_copies_of_factors(data)


def _no_copies_of_factors(data: bytes) -> None:
    """No BATCH_MATMUL reads what a TRANSPOSE made, also through a RESHAPE."""
    model, codes = graph.read(data), graph.schema().BuiltinOperator
    products = 0
    for subgraph in model.subgraphs:
        found = graph.Graph(model, subgraph)
        makers = {index: op for op in subgraph.operators for index in op.outputs}
        for op in subgraph.operators:
            if found.code(op) == codes.BATCH_MATMUL:
                products += op.builtinOptions.adjY
                maker = makers.get(op.inputs[1])
                if maker is not None and found.code(maker) == codes.RESHAPE:
                    maker = makers.get(maker.inputs[0])
                assert maker is None or found.code(maker) != codes.TRANSPOSE
    assert products


def test_what_cannot_be_exported_is_refused_before_any_work(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 … 32"):
        prepare(spec(tiny, tmp_path / "b", extend=1))
    with pytest.raises(UnsupportedError, match="coreml"):
        prepare(spec(tiny, tmp_path / "b", formats=("coreml",), extend=4))
