"""What inspection reads from ONNX, TFLite and Core ML, held against each format's own package."""

from collections import Counter
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import onnx.parser
import pytest
from ai_edge_litert import schema_py_generated as tflite_schema
from inspected import TFLITE, refusal, sharing
from tiny_mlpackage import unpack

from edgecap.inspection import onnx_schema, read_contents
from edgecap.inspection.contents import Contents, Tensor, Weights
from edgecap.inspection.tflite_names import CUSTOM, DTYPES, OPERATORS

FOREIGN_ONNX = sorted(Path(onnx.__file__).parent.glob("backend/test/data/light/light_*.onnx"))


def by_kind(contents: Contents) -> dict[str, tuple[int, int, int]]:
    """kind -> tensors, elements, bytes; checks that shares add up and the largest comes first."""
    sizes = [weights.bytes for weights in contents.weights]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(weights.share for weights in contents.weights) == pytest.approx(1)
    return {w.kind: (w.tensors, w.elements, w.bytes) for w in contents.weights}


def tensors(found: tuple[Tensor, ...]) -> list[tuple[str, str, tuple]]:
    return [(tensor.name, tensor.dtype, tensor.shape) for tensor in found]


def test_weights_of_equal_size_come_in_order_of_their_names() -> None:
    from edgecap.inspection.contents import Tally

    tally = Tally()
    for kind in ("fp32", "bf16"):
        tally.add(kind, 1, 4)
    assert tally.weights() == (Weights("bf16", 1, 1, 4, 0.5), Weights("fp32", 1, 1, 4, 0.5))
    assert Tally().weights() == ()


# ONNX


def test_an_onnx_graph(tiny_bundle_made: Path) -> None:
    path = tiny_bundle_made / "decode.onnx"
    contents = read_contents(path)
    assert (contents.format, contents.version) == ("onnx", "IR 8, opset ai.onnx 17")
    assert contents.bytes == path.stat().st_size
    (graph,) = contents.functions
    assert graph.name == "decode" and graph.states == ()
    assert tensors(graph.inputs) == [
        ("token", "int32", ("B", 1)),
        ("position", "int32", ("B",)),
        ("k", "fp32", (1, "B", 1, 292, 8)),
        ("v", "fp32", (1, "B", 1, 292, 8)),
    ]
    assert tensors(graph.outputs)[0] == ("logits", "fp32", ("B", 4096))


@pytest.mark.parametrize("path", FOREIGN_ONNX, ids=lambda path: path.stem)
def test_foreign_onnx_files(path: Path) -> None:
    model = onnx.load(path)
    contents = read_contents(path)
    (graph,) = contents.functions
    assert contents.producer == f"{model.producer_name} {model.producer_version}".strip()
    assert graph.ops == Counter(node.op_type for node in model.graph.node)
    named = {tensor.name for tensor in model.graph.initializer}
    assert [t.name for t in graph.inputs] == [
        i.name for i in model.graph.input if i.name not in named
    ]
    kept = [*model.graph.initializer]
    kept += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in kept]
    assert sum(w.bytes for w in contents.weights) == sum(array.nbytes for array in arrays)
    assert sum(w.tensors for w in contents.weights) == len(arrays)


def test_there_are_foreign_onnx_files() -> None:
    assert len(FOREIGN_ONNX) > 3


BRANCHES = """
<ir_version: 10, opset_import: ["" : 21, "own" : 1]>
main (float[N] x, bool yes) => (float[M] y) {
  c = Constant <value: tensor = float[2] {1, 2}> ()
  z = own.twice (x)
  y = If (yes) <
    then_branch = a () => (float[M] t) { t = Mul(z, c) },
    else_branch = b () => (float[M] e) { d = Relu(z)  e = Relu(d) }
  >
}
<domain: "own", opset_import: ["" : 21]>
twice (v) => (w) { w = Add(v, v) }
"""


def test_branches_and_functions_of_an_onnx_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(BRANCHES).SerializeToString())
    contents = read_contents(path)
    graph, twice = contents.functions
    assert graph.ops == {"Relu": 2, "If": 1, "Mul": 1, "own.twice": 1}
    assert (twice.name, twice.ops) == ("own.twice", {"Add": 1})
    assert [tensor.name for tensor in (*twice.inputs, *twice.outputs)] == ["v", "w"]
    assert by_kind(contents) == {"fp32": (1, 2, 8)}
    assert contents.version == "IR 10, opset ai.onnx 21, own 1"


def test_weights_beside_an_onnx_file_count_once(tmp_path: Path) -> None:
    path = sharing(tmp_path)
    contents = read_contents(path)
    assert by_kind(contents) == {"fp32": (1, 8, 32), "fp16": (1, 5, 10)}
    assert contents.bytes == path.stat().st_size + 74


def test_the_onnx_tables_are_those_of_onnx() -> None:
    messages = {"TensorType": "TypeProto.Tensor", "Dimension": "TensorShapeProto.Dimension"}
    for name, table in onnx_schema.TABLES.items():
        if name == "Other":
            continue
        kind: Any = onnx
        for part in messages.get(name, name).split("."):
            kind = getattr(kind, part)
        for number, line in table.items():
            field = kind.DESCRIPTOR.fields_by_number[number]
            assert line.split()[-1] == field.name
            assert line.startswith(("repeated ", "unread ")) == field.is_repeated
    known = {number: name for name, number in onnx.TensorProto.DataType.items()}
    for number, (name, bits) in onnx_schema.DTYPES.items():
        spelled = known[number].lower().replace("double", "fp64").replace("bfloat", "bf")
        spelled = "fp32" if spelled == "float" else spelled.replace("float", "fp")
        assert name.replace("_", "") == spelled
        if name not in ("string", "complex64", "complex128") and bits >= 8:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
            assert dtype.itemsize * 8 == bits


# TFLite


def tflite_tree() -> Any:
    model = tflite_schema.Model.GetRootAs(bytearray(TFLITE.read_bytes()), 0)
    return tflite_schema.ModelT.InitFromObj(model)


def write_tflite(tree: Any, path: Path) -> Path:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_a_tflite_file_with_signatures() -> None:
    contents = read_contents(TFLITE)
    tree = tflite_tree()
    assert (contents.format, contents.producer) == ("tflite", "MLIR Converted.")
    assert contents.version.startswith("schema 3, runtime 2.")
    assert contents.bytes == TFLITE.stat().st_size
    names = {number: name for name, number in vars(tflite_schema.BuiltinOperator).items()}
    for function, signature in zip(contents.functions, tree.signatureDefs, strict=True):
        assert function.name == signature.signatureKey.decode()
        codes = [
            tree.operatorCodes[o.opcodeIndex]
            for o in tree.subgraphs[signature.subgraphIndex].operators
        ]
        wanted = Counter(names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in codes)
        assert function.ops == wanted
    decode = next(function for function in contents.functions if function.name == "decode")
    assert sorted(tensors(decode.inputs)) == [
        ("k", "fp32", (1, 1, 2, 292, 16)),
        ("position", "int32", (1,)),
        ("token", "int32", (1, 1)),
        ("v", "fp32", (1, 1, 2, 292, 16)),
    ]
    used = {tensor.buffer for subgraph in tree.subgraphs for tensor in subgraph.tensors}
    sizes = {i: len(b.data) for i, b in enumerate(tree.buffers) if b.data is not None}
    assert sum(w.bytes for w in contents.weights) == sum(sizes.get(index, 0) for index in used)
    kinds = by_kind(contents)
    assert kinds["int8"] == (8, 168448, 168448)  # the token table once, though three graphs read it


def test_a_tflite_file_without_signatures(tmp_path: Path) -> None:
    tree = tflite_tree()
    tree.signatureDefs, tree.metadata = None, None
    graph = tree.subgraphs[0]
    graph.name = b"first [red]\x1b"
    graph.tensors[graph.inputs[0]].shapeSignature = np.array([-1, 224, 224, 3], np.int32)
    graph.tensors[-1].isVariable = True
    graph.tensors[-1].name = b"state"
    tree.subgraphs[1].name = None
    code = tflite_schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = CUSTOM, CUSTOM, b"Detect"
    tree.operatorCodes[graph.operators[0].opcodeIndex] = code
    contents = read_contents(write_tflite(tree, tmp_path / "m.tflite"))
    first = contents.functions[0]
    assert len(contents.functions) == 3 and contents.version == "schema 3"
    assert first.inputs[0].shape == (None, 224, 224, 3)
    assert [state.name for state in first.states] == ["state"]
    assert first.ops["Detect"] > 0
    assert [one.name for one in contents.functions[1:]] == ["subgraph 1", "encode_text"]


def test_a_file_over_two_gigabytes_keeps_its_buffers_behind_the_tables(tmp_path: Path) -> None:
    tree = tflite_tree()
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in tree.buffers]
    size = max(sizes)
    index = sizes.index(size)
    tree.buffers[index].data, tree.buffers[index].size = None, size
    tree.buffers[index].offset = len(TFLITE.read_bytes())
    path = write_tflite(tree, tmp_path / "m.tflite")
    assert "outside the file" in refusal(path).message
    path.write_bytes(path.read_bytes().ljust(tree.buffers[index].offset + size, b"\0"))
    assert by_kind(read_contents(path))["int8"] == (8, 168448, 168448)


def test_the_tflite_names_are_those_of_the_schema() -> None:
    operators = vars(tflite_schema.BuiltinOperator)
    known = {number: name for name, number in operators.items() if not name.startswith("_")}
    assert dict(enumerate(OPERATORS)) == known
    assert OPERATORS[CUSTOM] == "CUSTOM"
    types = vars(tflite_schema.TensorType)
    for name, number in types.items():
        if not name.startswith("_"):
            spelled = name.lower().replace("bfloat", "bf").replace("float", "fp")
            assert DTYPES[number] == spelled


# Core ML


def test_a_package_of_several_functions(tmp_path: Path) -> None:
    path = unpack("stateful", tmp_path)
    contents = read_contents(path)
    assert contents.format == "coreml"
    assert contents.version == "specification 9 (iOS 18, macOS 15), opset CoreML8"
    assert contents.bytes == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    functions = {function.name: function for function in contents.functions}
    assert list(functions) == ["decode", "decode_stateful", "encode_image", "encode_text"]
    decode = functions["decode_stateful"]
    assert tensors(decode.inputs) == [
        ("token", "int32", (1, 1)),
        ("position", "int32", (1,)),
        ("k_image", "fp32", (1, 1, 1, 196, 8)),
        ("v_image", "fp32", (1, 1, 1, 196, 8)),
    ]
    assert tensors(decode.states) == [
        ("k_text", "fp16", (1, 1, 1, 96, 8)),
        ("v_text", "fp16", (1, 1, 1, 96, 8)),
    ]
    assert decode.ops["write_state"] == 2 and "const" not in decode.ops
    assert tensors(functions["encode_image"].inputs) == [("image", "rgb image", (224, 224))]
    kinds = by_kind(contents)
    assert kinds["fp16"] == (1, 4096 * 4, 4096 * 8)
    assert kinds["palettised 4-bit"] == (1, 4096 * 4, 4096 * 2)
    assert kinds["int4"] == (1, 16, 8)
    assert kinds["int8"] == (1, 4, 4)


def test_a_package_compressed_as_ios_16_does(tmp_path: Path) -> None:
    contents = read_contents(unpack("ios16", tmp_path))
    assert contents.producer == "coremltools 9.0, from milinternal"
    (main_function,) = contents.functions
    assert main_function.name == "main" and main_function.ops["linear"] == 3
    kinds = by_kind(contents)
    assert kinds["palettised 6-bit"] == (1, 64 * 64, 64 * 64 * 6 // 8)
    assert kinds["sparse fp32"] == (1, 2048, 8192)
    assert kinds["sparse mask"] == (1, 64 * 64, 64 * 64 // 8)
    assert kinds["int8"][2] == 64 * 64 + 1  # with the zero point
