"""Functions of every family as ONNX, written without their weights in memory, against PyTorch."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny_checkpoints import EAGER_ONLY, MAKERS, make
from wide_checkpoints import middling

from edgecap.benchmarks import random_checkpoints
from edgecap.bundle.manifest import Function
from edgecap.core.errors import UnsupportedError
from edgecap.exporters.eager import Eager
from edgecap.exporters.estimate import estimate
from edgecap.exporters.examples import example_inputs
from edgecap.exporters.onnx import convert, functions
from edgecap.exporters.onnx.convert import WEIGHTS
from edgecap.exporters.onnx.external import WeightsFile
from edgecap.exporters.onnx.parameters import InFile, Parameters
from edgecap.exporters.quiet import quiet
from edgecap.exporters.rounded import uncalibrated
from edgecap.models import registry
from edgecap.models.checkpoint import Checkpoint, open_checkpoint
from edgecap.models.weightless import without_weights
from edgecap.quant.plan import Plan
from edgecap.runtime.backends.onnx import session_options
from edgecap.runtime.backends.single import Arrays

EVERY = [(family, variant) for family in registry.FAMILIES for variant in MAKERS[family]]
# tests/models exports every family; these are one of each kind of decoder, and an embedder.
QUICK = {("git", "tiny"), ("kosmos-2", "tiny"), ("clip", "tiny")}
CASES = [
    pytest.param(case, marks=() if case in QUICK else pytest.mark.full, id="-".join(case))
    for case in EVERY
    if case not in EAGER_ONLY
]
TEXT_ROWS = 32

# The largest error of an output in spreads of it, and the root of the mean square.
# fp16: weights are off by 2^-11 of themselves. w8: by 1/254 of a row's largest, and so are inputs.
FREE = ("fp32", "fp16", "w8")  # of a plan
BOUNDS = {"fp32": (1e-4, 1e-5), "fp16": (5e-3, 1.5e-3), "w8": (0.2, 0.04)}


@dataclass(frozen=True)
class Graphs:
    """Traced functions and the plan of their int8."""

    traced: convert.Traced
    plan: Plan

    @classmethod
    def of(cls, adapter: Any) -> Graphs:
        rounded = uncalibrated(adapter)
        with quiet():
            return cls(functions.traced(adapter, rounded), rounded.plan)

    def write(self, directory: Path, precision: str) -> dict[str, Function]:
        return convert.write(self.traced, precision, directory, self.plan)


def load(checkpoint: Checkpoint, bare: bool = True) -> Any:
    rows = TEXT_ROWS if registry.FAMILIES[checkpoint.model_type].captions else None
    return registry.load(checkpoint, rows, build=without_weights if bare else None)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Any]:
    """The checkpoint and the traced graphs of a case, made once."""

    @cache
    def get(family: str, variant: str) -> tuple[Checkpoint, Graphs]:
        directory = make(family, variant, tmp_path_factory.mktemp(f"{family}-{variant}"))
        checkpoint = open_checkpoint(directory)
        return checkpoint, Graphs.of(load(checkpoint))

    return get


def run(file: Path, inputs: Arrays) -> dict[str, np.ndarray]:
    options = session_options(onnxruntime)
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def assert_same(checkpoint: Checkpoint, directory: Path, precision: str) -> None:
    """The graphs in `directory` are the functions of a model loaded from `checkpoint`."""
    adapter = load(checkpoint, bare=False)
    eager, (largest, typical) = Eager(adapter.functions()), BOUNDS[precision]
    for function in adapter.functions():
        for batch in (1, 3):
            made = example_inputs(function, adapter.interface, batch)
            inputs = {name: value.numpy() for name, value in made.items()}
            expected = eager.run(function.name, inputs)
            found = run(directory / f"{function.name}.onnx", inputs)
            assert list(found) == list(function.outputs)
            for name, value in expected.items():
                if function.outputs[name].dtype == "int32":  # how many rows count
                    assert np.array_equal(found[name], value), (function.name, name, batch)
                    continue
                error = (found[name] - value) / value.std()
                assert np.abs(error).max() <= largest, (function.name, name, batch)
                assert np.sqrt(np.square(error).mean()) <= typical, (function.name, name, batch)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", FREE)
def test_functions_are_those_of_pytorch(
    case: tuple[str, str], precision: str, traced: Callable[[str, str], Any], tmp_path: Path
) -> None:
    checkpoint, graphs = traced(*case)
    places = graphs.write(tmp_path, precision)
    for name, place in places.items():
        spec = load(checkpoint).interface.function(name)
        assert place.file == f"{name}.onnx"
        assert place.inputs == {key: key for key in spec.inputs}
        assert place.outputs == {key: key for key in spec.outputs}
    assert_same(checkpoint, tmp_path, precision)


def externals(directory: Path) -> dict[str, dict[tuple[int, int], Any]]:
    """Of each graph, the tensors in the file of weights by offset and length."""
    found: dict[str, dict[tuple[int, int], Any]] = {}
    for file in sorted(directory.glob("*.onnx")):
        model = onnx.load(str(file), load_external_data=False)
        found[file.stem] = {}
        for tensor in model.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                place = {entry.key: entry.value for entry in tensor.external_data}
                assert place["location"] == WEIGHTS
                found[file.stem][int(place["offset"]), int(place["length"])] = tensor
    return found


@pytest.mark.parametrize("precision", FREE)
def test_each_tensor_is_in_the_one_file_once(
    precision: str, traced: Callable[[str, str], Any], tmp_path: Path
) -> None:
    """Kosmos-2 reads its language model in both graphs, and its table as the output head too."""
    _, graphs = traced("kosmos-2", "tiny")
    graphs.write(tmp_path, precision)
    assert {file.name for file in tmp_path.iterdir()} == {"encode.onnx", "decode.onnx", WEIGHTS}
    found = externals(tmp_path)
    shared = found["encode"].keys() & found["decode"].keys()
    assert len(shared) > 10  # the layers of the language model
    places = sorted(found["encode"].keys() | found["decode"].keys())
    ends = [offset + length for offset, length in places]
    assert all(offset >= end for (offset, _), end in zip(places[1:], ends, strict=False))
    assert ends[-1] == (tmp_path / WEIGHTS).stat().st_size
    assert all(offset % 4096 == 0 for offset, length in places if length >= 4096)
    tables = [
        tensor
        for graph in found.values()
        for tensor in graph.values()
        if sorted(tensor.dims) == [32, 300]
    ]
    assert len(tables) == 2  # one in each graph
    assert len({tensor.external_data[1].value for tensor in tables}) == 1


def test_linear_layers_multiply_integers(traced: Callable[[str, str], Any], tmp_path: Path) -> None:
    """At w8 every matrix of a linear layer is int8, but what the adapter keeps is not rounded."""
    _, graphs = traced("blip", "tiny")
    graphs.write(tmp_path, "w8")
    INT8, FLOAT = onnx.TensorProto.INT8, onnx.TensorProto.FLOAT
    for graph in externals(tmp_path).values():
        for tensor in graph.values():
            kept = "position" in tensor.name or "class_embedding" in tensor.name
            wanted = FLOAT if len(tensor.dims) == 1 or kept else INT8
            assert tensor.data_type == wanted, tensor.name


def test_a_loaded_model_is_written_alike(traced: Callable[[str, str], Any], tmp_path: Path) -> None:
    checkpoint, graphs = traced("blip", "tiny")
    loaded = Graphs.of(load(checkpoint, bare=False))
    for precision in FREE:
        first, second = tmp_path / f"{precision}-file", tmp_path / f"{precision}-memory"
        for directory, graph in ((first, graphs), (second, loaded)):
            directory.mkdir()
            graph.write(directory, precision)
        for file in first.iterdir():
            assert file.read_bytes() == (second / file.name).read_bytes(), file.name


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.full)])
def test_shards_of_narrow_weights(dtype: str, tmp_path: Path) -> None:
    import torch

    make("git", "tiny", tmp_path / "model")
    model = load(open_checkpoint(tmp_path / "model"), bare=False).model
    (tmp_path / "model" / "model.safetensors").unlink()
    model.to(getattr(torch, dtype)).save_pretrained(tmp_path / "model", max_shard_size="60KB")
    checkpoint = open_checkpoint(tmp_path / "model")
    assert len(checkpoint.weights) > 1
    (tmp_path / "out").mkdir()
    with quiet():
        functions.export(load(checkpoint), tmp_path / "out", "fp32")
    assert_same(checkpoint, tmp_path / "out", "fp32")


def test_no_matrix_is_whole_in_memory(tmp_path: Path) -> None:
    """Neither one that is written as it is, nor transposed, nor rounded."""
    shape = (12000, 2048)  # 98 MB; a block is 17 MB
    random_checkpoints.write_safetensors(tmp_path / "a.safetensors", {"a": shape})
    start = (tmp_path / "a.safetensors").stat().st_size - 4 * shape[0] * shape[1]
    parameters = Parameters.__new__(Parameters)
    parameters._sources = {"a": InFile(tmp_path / "a.safetensors", start, "F32", shape)}
    tracemalloc.start()
    with WeightsFile(tmp_path / "w", parameters) as file:
        across = file.floats("a", "float32", transposed=True)
        plain = file.floats("a", "float16", transposed=False)
        int8, scale = file.rounded("a", transposed=True, outputs_last=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6

    def read(place: Any) -> np.ndarray:
        return np.memmap(tmp_path / "w", place.dtype, "r", place.offset, place.shape)

    values = np.memmap(tmp_path / "a.safetensors", "<f4", "r", start, shape)
    assert np.array_equal(read(across), values.T)
    assert np.array_equal(read(plain), values.astype(np.float16))
    assert np.abs(read(int8).T * read(scale)[:, None] - values).max() <= 0.51 * read(scale).max()


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    make("clip", "tiny", tmp_path)
    adapter = load(open_checkpoint(tmp_path), bare=False)
    adapter.model.text_model.embeddings.token_embedding.weight.data[3, 3] = 1e6
    graphs = Graphs.of(adapter)
    with pytest.raises(UnsupportedError, match="token_embedding.*beyond float16: 1e"):
        graphs.write(tmp_path, "fp16")
    graphs.write(tmp_path, "fp32")


def test_what_needs_a_plan_is_refused(tmp_path: Path) -> None:
    make("clip", "tiny", tmp_path)
    with pytest.raises(UnsupportedError, match="with a plan, and w8a8"):
        functions.export(load(open_checkpoint(tmp_path)), tmp_path, "w8a8")


def test_unknown_types_of_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="F8_E4M3; known: F32, F16, BF16"):
        InFile(tmp_path / "model.safetensors", 0, "F8_E4M3", (2, 2))


@pytest.mark.parametrize("family", ["siglip", pytest.param("blip", marks=pytest.mark.full)])
def test_sizes_are_foretold(family: str, tmp_path: Path) -> None:
    checkpoint = middling(tmp_path / "model", family)
    graphs = Graphs.of(load(checkpoint))
    for precision in FREE:
        directory = tmp_path / precision
        directory.mkdir()
        graphs.write(directory, precision)
        size = sum(file.stat().st_size for file in directory.iterdir())
        assert abs(estimate(checkpoint, "onnx", precision).size / size - 1) <= 0.05
