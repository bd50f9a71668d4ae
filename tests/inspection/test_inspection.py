"""The inspect command, what inspection refuses, and damaged files that it survives."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import flatbuffers
import onnx
import onnx.parser
import pytest
from ai_edge_litert import schema_py_generated as tflite_schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inspected import TFLITE, refusal, sharing
from tiny_mlpackage import unpack
from without import without

from edgecap.cli.app import main
from edgecap.core.errors import EdgecapError
from edgecap.inspection import read_contents

MODEL_FILE = "Data/com.apple.CoreML/model.mlmodel"
WEIGHT_FILE = "Data/com.apple.CoreML/weights/weight.bin"


# The command


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["inspect", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_shows_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, str(unpack("stateful", tmp_path)))
    for part in ("specification 9", "<> k_text", "rgb image [224,224]", "palettised 4-bit"):
        assert part in text
    contents = json.loads(shown(capsys, str(TFLITE), "--json", "-"))
    assert contents == json.loads(json.dumps(asdict(read_contents(TFLITE))))


def test_the_command_shows_the_files_of_a_bundle(
    tiny_bundle_made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, str(tiny_bundle_made))
    assert "decode.onnx: onnx" in text and "AveragePool 1" in text
    report = json.loads(shown(capsys, str(tiny_bundle_made), "--json", "-"))
    files = report["contents"]
    assert set(files) == {"encode_image.onnx", "decode.onnx", "encode_text.onnx"}
    assert files["decode.onnx"]["functions"][0]["ops"]["MatMul"] == 5
    assert report["interface"]["dims"]["V"] == 4096


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
    assert "\x1b" not in out and "me\N{REPLACEMENT CHARACTER}you" in out
    assert "\N{REPLACEMENT CHARACTER}[31m[bold]" in out and "n" * 100 not in out


def test_it_needs_no_engine_and_no_converter(tiny_bundle_made: Path, tmp_path: Path) -> None:
    blocked = {"torch", "onnx", "onnxruntime", "coremltools", "ai_edge_litert", "tensorflow"}
    blocked |= {"flatbuffers", "google", "litert_torch"}
    paths = [str(TFLITE), str(tiny_bundle_made), str(unpack("portable", tmp_path))]
    for path in paths:
        done = without(blocked, "inspect", path)
        assert (done.returncode, done.stderr) == (0, "")


# Refusals


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".mlpackage", ".txt", ""])
@pytest.mark.parametrize("content", [None, b"", b"\0", b"not a model at all", b"PK\3\4" * 100])
def test_what_is_no_model_is_one_line(
    tmp_path: Path, suffix: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"file{suffix}"
    if content is not None:
        path.write_bytes(content)
    for arguments in ([], ["--json", "-"]):
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


def test_a_bundle_may_be_called_as_a_model(tiny_bundle: Path) -> None:
    assert main(["inspect", str(tiny_bundle.rename(tiny_bundle.parent / "mine.onnx"))]) == 0


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_a_model_under_the_wrong_name(tiny_bundle_made: Path, tmp_path: Path, suffix: str) -> None:
    other = {".onnx": TFLITE, ".tflite": tiny_bundle_made / "decode.onnx"}[suffix]
    path = tmp_path / f"m{suffix}"
    shutil.copy(other, path)
    assert refusal(path).code == "bundle.model"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: (d / "weights.bin").unlink(), "bundle.missing_file"),
        (lambda d: (d / "weights.bin").write_bytes(bytes(73)), "bundle.truncated"),
        (lambda d: edit(d / "m.onnx", b"weights.bin", b"../weig.bin"), "bundle.path"),
        (lambda d: edit(d / "m.onnx", b"weights.bin", b"/etc/passwd"), "bundle.path"),
        (lambda d: edit(d / "m.onnx", b"weights.bin", b"we\0ghts.bin"), "bundle.path"),
        (lambda d: edit(d / "m.onnx", b"\x0264", b"\x02-4"), "bundle.model"),
        (lambda d: edit(d / "m.onnx", b"length", b"offset"), "bundle.model"),  # told twice
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


def test_a_constant_of_an_impossible_shape(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="big", data_type=1, dims=[1 << 40] * 40, raw_data=b"x")
    model = onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(initializer=[tensor]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert "impossible shape" in refusal(path).message
    tensor.dims[:] = [3]
    model.graph.initializer[0].CopyFrom(tensor)
    path.write_bytes(model.SerializeToString())
    assert "holds 1 bytes; its shape needs 12" in refusal(path).message


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


def crowd(count: int) -> bytes:
    """`count` signatures of one subgraph of `count` tensors, which look alike."""
    builder = flatbuffers.Builder(1024)

    def vector(of: int, length: int) -> int:
        builder.StartVector(4, length, 4)
        for _ in range(length):
            builder.PrependUOffsetTRelative(of)
        return builder.EndVector()

    tflite_schema.TensorStart(builder)
    tensors = vector(tflite_schema.TensorEnd(builder), count)
    tflite_schema.SubGraphStart(builder)
    tflite_schema.SubGraphAddTensors(builder, tensors)
    subgraphs = vector(tflite_schema.SubGraphEnd(builder), 1)
    tflite_schema.SignatureDefStart(builder)
    signatures = vector(tflite_schema.SignatureDefEnd(builder), count)
    tflite_schema.BufferStart(builder)
    buffers = vector(tflite_schema.BufferEnd(builder), 1)
    tflite_schema.ModelStart(builder)
    tflite_schema.ModelAddSubgraphs(builder, subgraphs)
    tflite_schema.ModelAddSignatureDefs(builder, signatures)
    tflite_schema.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite_schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_signatures_cannot_look_through_one_subgraph_endlessly(tmp_path: Path) -> None:
    path = tmp_path / "crowd.tflite"
    path.write_bytes(crowd(3))
    assert len(read_contents(path).functions) == 3
    path.write_bytes(crowd(3000))
    assert "refer to each other" in refusal(path).message


def test_a_small_file_cannot_ask_for_endless_work(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tflite"
    for count in (3000, 400_000):  # 24 kB, nine million tensors; 3 MB, 160 billion
        path.write_bytes(bomb(count))
        assert "refer to each other" in refusal(path).message


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


# Fuzzing


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
