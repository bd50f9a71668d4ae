"""What inspection says of real files, held against what each format's own package says of them."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import onnx.parser
import pytest
from ai_edge_litert import schema_py_generated as tflite_schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_mlpackage import unpack
from without import without

from edgecap.cli.app import main
from edgecap.core.errors import BundleError, EdgecapError
from edgecap.runtime.inspection import onnx_schema, read_contents
from edgecap.runtime.inspection.contents import Contents, Tensor, Weights
from edgecap.runtime.inspection.tflite_names import CUSTOM, DTYPES, OPERATORS

TFLITE = Path(__file__).parents[1] / "support" / "tiny_w8.tflite"
FOREIGN_ONNX = sorted(Path(onnx.__file__).parent.glob("backend/test/data/light/light_*.onnx"))


def by_kind(contents: Contents) -> dict[str, tuple[int, int, int]]:
    """kind -> tensors, elements, bytes; checks that shares add up and the largest comes first."""
    sizes = [weights.bytes for weights in contents.weights]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(weights.share for weights in contents.weights) == pytest.approx(1)
    return {w.kind: (w.tensors, w.elements, w.bytes) for w in contents.weights}


def tensors(found: tuple[Tensor, ...]) -> list[tuple[str, str, tuple]]:
    return [(tensor.name, tensor.dtype, tensor.shape) for tensor in found]


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


def sharing(directory: Path) -> Path:
    """A graph of which two tensors lie in weights.bin, one of them under two names."""
    model = onnx.parser.parse_model(
        "<ir_version: 8, opset_import: ['' : 17]> m (float[4] x) => "
        "(float[4] y) { y = Sum(x, a, b) }".replace("'", '"')
    )
    parts = {
        "a": (0, np.float32, (2, 4)),
        "b": (0, np.float32, (2, 4)),
        "c": (64, np.float16, (5,)),
    }
    for name, (offset, dtype, shape) in parts.items():
        array = np.zeros(shape, dtype)
        tensor = onnx.numpy_helper.from_array(array, name)
        onnx.external_data_helper.set_external_data(
            tensor, "weights.bin", offset=offset, length=array.nbytes
        )
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        model.graph.initializer.append(tensor)
    (directory / "weights.bin").write_bytes(bytes(74))
    (directory / "m.onnx").write_bytes(model.SerializeToString())
    return directory / "m.onnx"


def test_weights_beside_an_onnx_file_count_once(tmp_path: Path) -> None:
    path = sharing(tmp_path)
    contents = read_contents(path)
    assert by_kind(contents) == {"fp32": (1, 8, 32), "fp16": (1, 5, 10)}
    assert contents.bytes == path.stat().st_size + 74


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: (d / "weights.bin").unlink(), "bundle.missing_file"),
        (lambda d: (d / "weights.bin").write_bytes(bytes(73)), "bundle.truncated"),
        (lambda d: edit(d / "m.onnx", b"weights.bin", b"../weig.bin"), "bundle.path"),
        (lambda d: edit(d / "m.onnx", b"weights.bin", b"/etc/passwd"), "bundle.path"),
        (lambda d: edit(d / "m.onnx", b"weights.bin", b"we\0ghts.bin"), "bundle.path"),
        (lambda d: edit(d / "m.onnx", b"\x0264", b"\x02-4"), "bundle.model"),
    ],
)
def test_weights_that_are_not_beside_it(
    tmp_path: Path, change: Callable[[Path], object], code: str
) -> None:
    path = sharing(tmp_path)
    change(tmp_path)
    assert refusal(path).code == code


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data and len(old) == len(new)
    path.write_bytes(data.replace(old, new))


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
            assert line.startswith("repeated ") == field.is_repeated
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
    code = tflite_schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = CUSTOM, CUSTOM, b"Detect"
    tree.operatorCodes[graph.operators[0].opcodeIndex] = code
    contents = read_contents(write_tflite(tree, tmp_path / "m.tflite"))
    first = contents.functions[0]
    assert len(contents.functions) == 3 and contents.version == "schema 3"
    assert first.inputs[0].shape == (None, 224, 224, 3)
    assert [state.name for state in first.states] == ["state"]
    assert first.ops["Detect"] > 0
    assert contents.functions[1].name == "subgraph 1" or tree.subgraphs[1].name


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


def bomb(count: int) -> bytes:
    """`count` subgraphs that are one, of `count` tensors that are one: count² in a few bytes."""
    builder = flatbuffers.Builder(1024)
    tflite_schema.TensorStart(builder)
    tensor = tflite_schema.TensorEnd(builder)

    def vector(of: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(of)
        return builder.EndVector()

    all_tensors = vector(tensor)
    tflite_schema.SubGraphStart(builder)
    tflite_schema.SubGraphAddTensors(builder, all_tensors)
    all_subgraphs = vector(tflite_schema.SubGraphEnd(builder))
    tflite_schema.ModelStart(builder)
    tflite_schema.ModelAddSubgraphs(builder, all_subgraphs)
    builder.Finish(tflite_schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_small_file_cannot_ask_for_endless_work(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tflite"
    path.write_bytes(bomb(3000))  # 24 kB, nine million tensors
    assert "point at each other" in refusal(path).message


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


MODEL_FILE = "Data/com.apple.CoreML/model.mlmodel"
WEIGHT_FILE = "Data/com.apple.CoreML/weights/weight.bin"


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda p: (p / WEIGHT_FILE).unlink(), "bundle.missing_file"),
        (lambda p: cut(p / WEIGHT_FILE, 100), "bundle.path"),
        (lambda p: cut(p / WEIGHT_FILE, -100), "bundle.truncated"),
        (lambda p: (p / "Manifest.json").unlink(), "bundle.missing_file"),
        (lambda p: (p / "Manifest.json").write_text("{}"), "bundle.model"),
        (lambda p: cut(p / MODEL_FILE, 900), "bundle.model"),
        (lambda p: cut(p / MODEL_FILE, 0), "bundle.model"),
        (lambda p: shutil.rmtree(p), "bundle.missing"),
    ],
)
def test_a_damaged_package(tmp_path: Path, change: Callable[[Path], object], code: str) -> None:
    path = unpack("portable", tmp_path)
    change(path)
    assert refusal(path).code == code


# Bad input


def refusal(path: Path) -> EdgecapError:
    with pytest.raises(BundleError) as caught:
        read_contents(path)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".mlpackage", ".txt", ""])
@pytest.mark.parametrize("content", [None, b"", b"\0", b"not a model at all", b"PK\3\4" * 100])
def test_what_is_no_model_is_one_line(
    tmp_path: Path, suffix: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"file{suffix}"
    if content is not None:
        path.write_bytes(content)
    for arguments in ([], ["--json"]):
        assert main(["inspect", str(path), *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("edgecap: [") and err.count("\n") == 1
        assert path.name in err


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".mlpackage", ""])
def test_a_directory_that_is_no_model(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"folder{suffix}"
    path.mkdir()
    assert main(["inspect", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_a_model_under_the_wrong_name(tiny_bundle_made: Path, tmp_path: Path, suffix: str) -> None:
    other = {".onnx": TFLITE, ".tflite": tiny_bundle_made / "decode.onnx"}[suffix]
    path = tmp_path / f"m{suffix}"
    shutil.copy(other, path)
    assert refusal(path).code == "bundle.model"


def survives(path: Path) -> None:
    """Facts, or one line; nothing else, whatever the bytes."""
    try:
        json.dumps(asdict(read_contents(path)))
    except EdgecapError as error:
        assert "\n" not in str(error)


MUTATIONS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8)
FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def mutated(data: bytes, changes: list[tuple[float, int]], keep: float) -> bytes:
    changed = bytearray(data)
    for place, value in changes:
        changed[int(place * len(changed))] = value
    return bytes(changed[: int(keep * len(changed)) if keep < 0.9 else None])


@given(st.sampled_from([".onnx", ".tflite"]), st.binary(max_size=300), st.booleans())
@FUZZ
def test_random_bytes(tmp_path: Path, suffix: str, data: bytes, marked: bool) -> None:
    path = tmp_path / f"random{suffix}"
    path.write_bytes(data[:4] + b"TFL3" + data[4:] if marked else data)
    survives(path)


@given(MUTATIONS, st.floats(0, 1))
@FUZZ
def test_damaged_tflite(tmp_path: Path, changes: list[tuple[float, int]], keep: float) -> None:
    path = tmp_path / "m.tflite"
    tables = [(place if i % 2 else place / 50, v) for i, (place, v) in enumerate(changes)]
    path.write_bytes(mutated(TFLITE.read_bytes(), tables, keep))
    survives(path)


@given(MUTATIONS, st.floats(0, 1))
@FUZZ
def test_damaged_onnx(
    tiny_bundle_made: Path, tmp_path: Path, changes: list[tuple[float, int]], keep: float
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(mutated((tiny_bundle_made / "encode_image.onnx").read_bytes(), changes, keep))
    survives(path)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("stateful", tmp_path_factory.mktemp("package"))


@given(st.sampled_from([MODEL_FILE, WEIGHT_FILE, "Manifest.json"]), MUTATIONS, st.floats(0, 1))
@FUZZ
def test_damaged_packages(
    package: Path, tmp_path: Path, file: str, changes: list[tuple[float, int]], keep: float
) -> None:
    copy = tmp_path / package.name
    if not copy.exists():
        shutil.copytree(package, copy)
    whole = (package / file).read_bytes()
    (copy / file).write_bytes(mutated(whole, changes, keep))
    survives(copy)
    (copy / file).write_bytes(whole)


def test_a_constant_of_an_impossible_shape(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="big", data_type=1, dims=[1 << 40] * 40, raw_data=b"x")
    model = onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(initializer=[tensor]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert "impossible shape" in refusal(path).message
    tensor.dims[:] = [3]
    model.graph.initializer[0].CopyFrom(tensor)
    path.write_bytes(model.SerializeToString())
    assert "holds 1 bytes, its shape says 12" in refusal(path).message


# The command


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["inspect", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_shows_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, str(unpack("stateful", tmp_path)))
    for part in ("specification 9", "<> k_text", "rgb image [224,224]", "palettised 4-bit"):
        assert part in text
    contents = json.loads(shown(capsys, str(TFLITE), "--json"))
    assert contents == json.loads(json.dumps(asdict(read_contents(TFLITE))))


def test_the_command_shows_the_files_of_a_bundle(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, str(tiny_bundle_made))
    assert "decode.onnx: onnx" in text and "AveragePool 1" in text
    report = json.loads(shown(capsys, str(tiny_bundle_made), "--json"))
    files = report["contents"]
    assert set(files) == {"encode_image.onnx", "decode.onnx", "encode_text.onnx"}
    assert files["decode.onnx"]["functions"][0]["ops"]["MatMul"] == 5
    assert report["contract"]["vocabulary"] == 4096


def test_names_of_strangers_do_not_reach_the_terminal_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) {y = Relu(x)}'
    model = onnx.parser.parse_model(text)
    model.graph.name = "\x1b[31m[bold]" + "n" * 200
    model.producer_name = "me\nyou"
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    out = shown(capsys, str(path))
    assert "\x1b" not in out and "me?you" in out
    assert "?[31m[bold]" in out and "n" * 100 not in out


def test_weights_of_equal_size_come_in_order_of_their_names() -> None:
    from edgecap.runtime.inspection.contents import Tally

    tally = Tally()
    for kind in ("fp32", "bf16"):
        tally.add(kind, 1, 4)
    assert tally.weights() == (Weights("bf16", 1, 1, 4, 0.5), Weights("fp32", 1, 1, 4, 0.5))
    assert Tally().weights() == ()


def test_it_needs_no_engine_and_no_converter(tiny_bundle_made: Path, tmp_path: Path) -> None:
    blocked = {"torch", "onnx", "onnxruntime", "coremltools", "ai_edge_litert", "tensorflow"}
    blocked |= {"flatbuffers", "google", "litert_torch"}
    paths = [str(TFLITE), str(tiny_bundle_made), str(unpack("portable", tmp_path))]
    for path in paths:
        done = without(blocked, "inspect", path)
        assert (done.returncode, done.stderr) == (0, "")
