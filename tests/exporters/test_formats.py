"""Files of both formats and all precisions: contract, values, sizes, weights stored once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from contract_examples import CLOSE, examples, expected

from edgecap.bundle.manifest import Function
from edgecap.exporters.contract import functions
from edgecap.exporters.onnx import convert as to_onnx
from edgecap.exporters.tflite import convert as to_tflite
from edgecap.exporters.tflite import graph as tflite_graph
from edgecap.quant.rounding import rows
from edgecap.runtime.backends.onnx import session_options

PRECISIONS = ("fp32", "fp16", "w8")
WIDTH_BYTES = {"fp32": 4, "fp16": 2, "w8": 1}


def write_onnx(converted: Any, precision: str, directory: Path) -> dict[str, Function]:
    return to_onnx.write(converted.onnx, precision, directory, converted.plan)


def agree(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray], precision: str) -> None:
    for name, value in wanted.items():
        assert got[name].shape == value.shape, name
        assert got[name].dtype == np.float32, name
        assert np.abs(got[name] - value).max() <= CLOSE[precision], name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_gives_what_torch_gives_for_any_batch(
    converted: Any, precision: str, tmp_path: Path
) -> None:
    files = write_onnx(converted, precision, tmp_path)
    for function in functions(converted.model, attention=True, by_element=False):
        session = onnxruntime.InferenceSession(
            str(tmp_path / files[function.name].file), session_options(onnxruntime)
        )
        assert [i.name for i in session.get_inputs()] == list(function.inputs)
        assert [o.name for o in session.get_outputs()] == list(function.outputs)
        for batch in (1, 3):
            feeds = examples(function, batch)
            values = session.run(None, feeds)
            got = dict(zip(function.outputs, values, strict=True))
            agree(got, expected(function, feeds), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tflite_gives_what_torch_gives(converted: Any, precision: str, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    files = to_tflite.write(converted.tflite, precision, tmp_path, converted.w8)
    assert {function.file for function in files.values()} == {"model.tflite"}
    interpreter = Interpreter(str(tmp_path / "model.tflite"), num_threads=1)
    signatures = interpreter.get_signature_list()
    for function in functions(converted.model, attention=True, by_element=False):
        assert set(signatures[function.name]["inputs"]) == set(function.inputs)
        assert set(signatures[function.name]["outputs"]) == set(function.outputs)
        feeds = examples(function, 1)
        got = interpreter.get_signature_runner(function.name)(**feeds)
        agree(got, expected(function, feeds), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_weights_are_stored_once(
    converted: Any, format_: str, precision: str, tmp_path: Path
) -> None:
    if format_ == "onnx":
        write_onnx(converted, precision, tmp_path)
    else:
        to_tflite.write(converted.tflite, precision, tmp_path, converted.w8)
    model = converted.model
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    total = sum(file.stat().st_size for file in tmp_path.iterdir())
    # Graphs, scales and constants; a second copy of the token table would be more than that.
    slack = 200_000 + WIDTH_BYTES[precision] * 1000
    assert model.token.weight.numel() * WIDTH_BYTES[precision] > slack
    assert matrices * WIDTH_BYTES[precision] <= total <= matrices * WIDTH_BYTES[precision] + slack


def test_no_file_tells_where_it_was_made(converted: Any, tmp_path: Path) -> None:
    write_onnx(converted, "w8", tmp_path)
    to_tflite.write(converted.tflite, "w8", tmp_path, converted.w8)
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert b"site-packages" not in data
        assert os.fsencode(Path.cwd()) not in data


def test_int8_weights_carry_one_scale_per_tensor(converted: Any, tmp_path: Path) -> None:
    """Old runtimes ignore scales per row and return zeros."""
    to_tflite.write(converted.tflite, "w8", tmp_path, converted.w8)
    tree = tflite_graph.read((tmp_path / "model.tflite").read_bytes())
    int8 = tflite_graph.schema().TensorType.INT8
    scales = [
        list(tensor.quantization.scale)
        for subgraph in tree.subgraphs
        for tensor in subgraph.tensors
        if tensor.type == int8
    ]
    assert len(scales) > 20
    assert all(scale == [1.0] for scale in scales)


def test_rows_round_to_the_nearest_and_keep_zeros() -> None:
    weight = np.array([[1.27, -0.635, 0.004], [0, 0, 0]], np.float32)
    quantised, scale = rows(weight)
    assert quantised.tolist() == [[127, -64, 0], [0, 0, 0]] or quantised[0, 1] == -63
    assert np.abs(quantised * scale[:, None] - weight).max() <= scale[0] / 2 + 1e-7
    assert scale[1] == 1


def test_exporters_refuse_to_be_a_second_module() -> None:
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", "import exporters"], cwd=root, capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "import edgecap.exporters instead" in run.stderr
