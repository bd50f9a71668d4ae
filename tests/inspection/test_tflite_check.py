"""A .tflite file is walked before an interpreter sees it: what it would follow is there."""

from __future__ import annotations

import ast
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspected import TFLITE

from edgecap.core.errors import BundleError
from edgecap.inspection.tflite_check import CALLS, OPTIONS, OPTIONS_2, check_tflite
from edgecap.inspection.tflite_names import BITS, DTYPES

ADD, WHILE, RESHAPE = 0, 119, 22  # of BuiltinOperator


def small() -> schema.ModelT:
    """y = reshape(x + c), with one signature, as objects that may be damaged."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.buffers[1].data = list(struct.pack("<4f", 1, 2, 3, 4))
    model.buffers[2].data = list(struct.pack("<i", 4))
    model.operatorCodes = [_code(ADD), _code(RESHAPE)]
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("x", [1, 4]),
        _tensor("c", [4], buffer=1),
        _tensor("sum", [1, 4]),
        _tensor("shape", [1], buffer=2, type=schema.TensorType.INT32),
        _tensor("y", [4]),
    ]
    graph.inputs, graph.outputs = [0], [4]
    graph.operators = [_operator(0, [0, 1], [2]), _operator(1, [2, 3], [4])]
    graph.operators[1].builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    graph.operators[1].builtinOptions = schema.ReshapeOptionsT()
    graph.operators[1].builtinOptions.newShape = [4]
    model.subgraphs = [graph]
    signature = schema.SignatureDefT()
    signature.signatureKey = "main"
    signature.inputs, signature.outputs = [_named("x", 0)], [_named("y", 4)]
    model.signatureDefs = [signature]
    return model


def _code(number: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 1
    return code


def _tensor(
    name: str, shape: list[int], buffer: int = 0, type: int = schema.TensorType.FLOAT32
) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name, shape, buffer, type
    return tensor


def _operator(code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    return operator


def _named(name: str, index: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def packed(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        check_tflite(path)
    assert caught.value.code == "bundle.model" and "\n" not in str(caught.value)
    return caught.value.message


def test_sound_files_pass(tmp_path: Path) -> None:
    check_tflite(TFLITE)
    (tmp_path / "m.tflite").write_bytes(packed(small()))
    check_tflite(tmp_path / "m.tflite")


def _scales(model: schema.ModelT, scales: int, zeros: int, axis: int) -> None:
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [1.0] * scales, [0] * zeros
    quantization.quantizedDimension = axis
    model.subgraphs[0].tensors[0].quantization = quantization


def _loop(model: schema.ModelT) -> None:
    """Subgraph 0 becomes the body of a loop in itself."""
    model.operatorCodes.append(_code(WHILE))
    operator = _operator(2, [0], [2])
    operator.builtinOptionsType = schema.BuiltinOptions.WhileOptions
    operator.builtinOptions = schema.WhileOptionsT()
    operator.builtinOptions.condSubgraphIndex = operator.builtinOptions.bodySubgraphIndex = 0
    model.subgraphs[0].operators.append(operator)


def _set(path: str, value: object) -> Callable[[schema.ModelT], None]:
    """Set what `path` leads to, such as "subgraphs.0.inputs.0"."""

    def change(model: schema.ModelT) -> None:
        *way, last = path.split(".")
        place: object = model
        for step in way:
            place = place[int(step)] if step.isdigit() else getattr(place, step)  # type: ignore[index]
        if last.isdigit():
            place[int(last)] = value  # type: ignore[index]
        else:
            setattr(place, last, value)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("subgraphs.0.inputs.0", 5), "tensor 5 does not exist; there are 5"),
        (_set("subgraphs.0.outputs.0", -1), "tensor -1 does not exist; there are 5"),
        (_set("subgraphs.0.operators.0.inputs.1", 99), "tensor 99 is named"),
        (_set("subgraphs.0.operators.0.inputs.1", -2), "tensor -2 is named"),
        (_set("subgraphs.0.operators.0.outputs.0", 1 << 30), "tensor 1073741824 is named"),
        (_set("subgraphs.0.operators.0.opcodeIndex", 2), "operator 2 does not exist; there are 2"),
        (_set("subgraphs.0.tensors.1.buffer", 3), "buffer 3 does not exist; there are 3"),
        (_set("subgraphs.0.tensors.1.shape", [5]), "holds 16 bytes, not 20"),
        (_set("subgraphs.0.tensors.1.type", schema.TensorType.INT8), "holds 16 bytes, not 4"),
        (_set("subgraphs.0.tensors.1.type", 99), "type 99 is named"),
        (_set("subgraphs.0.tensors.0.shape", [-1, 4]), "impossible shape"),
        (_set("subgraphs.0.tensors.0.shape", [1 << 30] * 3), "impossible shape"),
        (_set("signatureDefs.0.inputs.0.tensorIndex", 7), "tensor 7 is named"),
        (_set("signatureDefs.0.subgraphIndex", 1), "subgraph 1 does not exist; there are 1"),
        (_set("subgraphs.0.operators.0.largeCustomOptionsOffset", 1 << 40), "outside the file"),
        (_set("buffers.1.offset", 1 << 40), "outside the file"),
        (_set("subgraphs", []), "it has no subgraph"),
        (_set("externalBufferGroups", [schema.ExternalBufferGroupT()]), "in other files"),
        (lambda m: _scales(m, 4, 4, 2), "4 scales do not fit axis 2"),
        (lambda m: _scales(m, 3, 3, 1), "3 scales do not fit axis 1"),
        (lambda m: _scales(m, 4, 3, 1), "there are 3 zero points for 4 scales"),
        (_set("subgraphs.0.operators.0.inputs", [0]), "ADD has inputs [0] and outputs [2]"),
        (_set("subgraphs.0.operators.0.inputs", [0, -1]), "ADD has inputs [0, -1]"),
        (_set("subgraphs.0.operators.0.outputs", []), "ADD has inputs [0, 1] and outputs []"),
        (_loop, "subgraph 0 calls itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_leads_nowhere_is_refused(
    tmp_path: Path, change: Callable[[schema.ModelT], None], told: str
) -> None:
    model = small()
    change(model)
    assert told in refused(tmp_path / "m.tflite", packed(model))


def test_an_input_may_be_left_out(tmp_path: Path) -> None:
    model = small()
    model.subgraphs[0].operators[1].inputs = [2, -1]
    (tmp_path / "m.tflite").write_bytes(packed(model))
    check_tflite(tmp_path / "m.tflite")


def test_options_that_lead_outside(tmp_path: Path) -> None:
    data = packed(small())
    at = data.index(struct.pack("<II", 1, 4), data.index(b"main"))  # the new shape: length, 4
    assert "outside the file" in refused(
        tmp_path / "m.tflite", data[:at] + struct.pack("<I", 1 << 28) + data[at + 4 :]
    )


@pytest.mark.parametrize("length", range(0, 1000, 37))
def test_a_file_that_was_cut(tmp_path: Path, length: int) -> None:
    data = packed(small())
    path = tmp_path / "m.tflite"
    path.write_bytes(data[: min(length, len(data) - 1)])
    with pytest.raises(BundleError) as caught:
        check_tflite(path)
    assert caught.value.code == ("bundle.model" if length else "bundle.truncated")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_is_refused_or_harmless(tmp_path: Path, changes: list[tuple[float, int]]) -> None:
    data = bytearray(packed(small()))
    for where, value in changes:
        data[int(where * (len(data) - 1))] = value
    path = tmp_path / "m.tflite"
    path.write_bytes(bytes(data))
    try:
        check_tflite(path)
    except BundleError as error:
        assert error.code == "bundle.model"


def test_weights_are_not_read(tmp_path: Path) -> None:
    model = small()
    model.subgraphs[0].tensors[1].shape = [64 << 20]
    model.buffers[1].data = None
    data = packed(model)
    size = 256 << 20
    model.buffers[1].offset, model.buffers[1].size = 2, size  # behind the tables, as above 2 GB
    data = packed(model)
    path = tmp_path / "m.tflite"
    with path.open("wb") as file:
        file.write(data)
        file.truncate(len(data) + size)  # takes no room on the disk
    tracemalloc.start()
    check_tflite(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def _vectors() -> dict[str, set[int]]:
    """Of each generated table the fields that are vectors or strings."""
    found: dict[str, set[int]] = {}
    for node in ast.parse(Path(schema.__file__).read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for method in node.body:
            if not isinstance(method, ast.FunctionDef):
                continue
            body = ast.unparse(method)
            offset = re.search(r"self\._tab\.Offset\((\d+)\)", body)
            if offset and re.search(r"self\._tab\.(Vector|String|VectorLen)\(", body):
                found.setdefault(node.name, set()).add((int(offset.group(1)) - 4) // 2)
    return found


@pytest.mark.parametrize(
    ("union", "known"), [(schema.BuiltinOptions, OPTIONS), (schema.BuiltinOptions2, OPTIONS_2)]
)
def test_the_options_are_those_of_the_schema(
    union: type, known: dict[int, tuple[tuple[int, int], ...]]
) -> None:
    fields = _vectors()
    assert {number: {field for field, _ in each} for number, each in known.items()} == {
        number: fields[name]
        for name, number in vars(union).items()
        if isinstance(number, int) and name in fields
    }


def test_the_calls_are_those_of_the_schema() -> None:
    options = schema.BuiltinOptions
    names = ("CallOptions", "IfOptions", "WhileOptions", "CallOnceOptions")
    assert {getattr(options, name) for name in names} == CALLS.keys()


def test_the_sizes_of_elements_are_named_as_the_types_are() -> None:
    assert set(DTYPES) - BITS.keys() == {"string", "resource", "variant"}
