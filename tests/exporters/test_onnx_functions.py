"""Functions as ONNX, written without their weights in memory: what the files hold.

That they compute what PyTorch does is asked of every family in tests/models/test_families_onnx.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from function_files import Graphs, onnx_run
from host_loop import eager, random_inputs
from tiny_checkpoints import make
from wide_checkpoints import middling

from edgecap.benchmarks import random_checkpoints
from edgecap.core.errors import UnsupportedError
from edgecap.exporters.estimate import estimate
from edgecap.exporters.onnx import functions
from edgecap.exporters.onnx.convert import WEIGHTS
from edgecap.exporters.onnx.external import WeightsFile
from edgecap.exporters.onnx.parameters import InFile, Parameters
from edgecap.exporters.quiet import quiet
from edgecap.models import registry
from edgecap.models.checkpoint import Checkpoint, open_checkpoint
from edgecap.models.weightless import without_weights

TEXT_ROWS = 32
FREE = ("fp32", "fp16", "w8")  # of a plan
CLOSE = 1e-4  # of an output's spread


def load(checkpoint: Checkpoint, bare: bool = True) -> Any:
    rows = TEXT_ROWS if registry.FAMILIES[checkpoint.model_type].captions else None
    return registry.load(checkpoint, rows, build=without_weights if bare else None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Kosmos-2 reads its language model in both graphs, and its table as the output head too."""
    return open_checkpoint(make("kosmos-2", "tiny", tmp_path_factory.mktemp("kosmos-2")))


@pytest.fixture(scope="module")
def bare(checkpoint: Checkpoint) -> Graphs:
    """Traced without weights, once."""
    return Graphs.of(load(checkpoint))


@pytest.fixture(scope="module")
def loaded(checkpoint: Checkpoint) -> tuple[Any, Graphs]:
    """An adapter with its weights, and its graphs."""
    adapter = load(checkpoint, bare=False)
    return adapter, Graphs.of(adapter)


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
def test_each_tensor_is_in_the_one_file_once(precision: str, bare: Graphs, tmp_path: Path) -> None:
    bare.write(tmp_path, precision)
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


def test_linear_layers_multiply_integers(bare: Graphs, tmp_path: Path) -> None:
    """At w8 every matrix of a linear layer is int8, but what the adapter keeps is not rounded."""
    bare.write(tmp_path, "w8")
    INT8, FLOAT = onnx.TensorProto.INT8, onnx.TensorProto.FLOAT
    for graph in externals(tmp_path).values():
        for tensor in graph.values():
            kept = any(
                part in tensor.name for part in ("position", "class_embedding", "latent_query")
            )
            wanted = FLOAT if len(tensor.dims) == 1 or kept else INT8
            assert tensor.data_type == wanted, tensor.name


def test_a_loaded_model_is_written_alike(
    bare: Graphs, loaded: tuple[Any, Graphs], tmp_path: Path
) -> None:
    for precision in FREE:
        first, second = tmp_path / f"{precision}-file", tmp_path / f"{precision}-memory"
        for directory, graphs in ((first, bare), (second, loaded[1])):
            directory.mkdir()
            graphs.write(directory, precision)
        for file in first.iterdir():
            assert file.read_bytes() == (second / file.name).read_bytes(), file.name


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.full)])
def test_shards_of_narrow_weights(dtype: str, tmp_path: Path) -> None:
    """The graphs are functions of the model that PyTorch loads from the same shards."""
    make("clip", "tiny", tmp_path / "model")
    model = load(open_checkpoint(tmp_path / "model"), bare=False).model
    (tmp_path / "model" / "model.safetensors").unlink()
    model.to(getattr(torch, dtype)).save_pretrained(tmp_path / "model", max_shard_size="30KB")
    checkpoint = open_checkpoint(tmp_path / "model")
    assert len(checkpoint.weights) > 1
    (tmp_path / "out").mkdir()
    with quiet():
        functions.export(load(checkpoint), tmp_path / "out", "fp32")
    adapter, run = load(checkpoint, bare=False), onnx_run(tmp_path / "out")
    for spec in adapter.interface.functions:
        inputs = random_inputs(adapter.interface, spec.name, batch=3)
        expected, found = eager(adapter)(spec.name, inputs), run(spec.name, inputs)
        for name, value in expected.items():
            assert np.abs(found[name] - value).max() <= CLOSE * value.std(), (spec.name, name)


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


def test_weights_beyond_float16_are_refused(loaded: tuple[Any, Graphs], tmp_path: Path) -> None:
    adapter, graphs = loaded
    weight = adapter.model.get_parameter("text_model.model.embed_tokens.weight").data
    kept = weight[3, 3].clone()
    weight[3, 3] = 1e6
    try:
        with pytest.raises(UnsupportedError, match="embed_tokens.*beyond float16: 1e"):
            graphs.write(tmp_path, "fp16")
        graphs.write(tmp_path, "fp32")
    finally:
        weight[3, 3] = kept


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
