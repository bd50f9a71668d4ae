"""Reading packages: what is in one, and what is refused. Nothing here needs a whole network."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from coremltools.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mil import evaluate, mb, normal, save_mil

from edgecap.core.errors import BundleError, EdgecapError
from edgecap.core.protobuf import Field, Message
from edgecap.mil import schema
from edgecap.mil.dtypes import BY_CODE, STRING
from edgecap.mil.package import open_package
from edgecap.mil.program import Program

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weight = normal(16, 8)
    return save_mil(
        tmp_path_factory.mktemp("made") / "made.mlpackage",
        lambda a: mb.relu(x=mb.linear(x=a, weight=weight), name="out"),
        normal(2, 8),
    )


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(made, tmp_path / made.name)
    return tmp_path / made.name


def refused(path: Path) -> EdgecapError:
    with pytest.raises(BundleError) as caught:
        Program.open(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


def edit(package: Path, change: Callable[[Model_pb2.Model], None]) -> None:
    """Change the model through Apple's own messages."""
    model = Model_pb2.Model()
    model.ParseFromString((package / MODEL).read_bytes())
    change(model)
    (package / MODEL).write_bytes(model.SerializeToString())


def block(model: Model_pb2.Model) -> MIL_pb2.Block:
    main = model.mlProgram.functions["main"]
    return main.block_specializations[main.opset]


def operation(model: Model_pb2.Model, kind: str) -> MIL_pb2.Operation:
    return next(each for each in block(model).operations if each.type == kind)


def weight(model: Model_pb2.Model) -> MIL_pb2.Value:
    blobs = [each.attributes["val"] for each in block(model).operations if each.type == "const"]
    return next(value for value in blobs if value.HasField("blobFileValue"))


def test_what_is_in_it(made: Path) -> None:
    package = open_package(made)
    assert package.spec_version == 9
    assert package.default_function == "main"
    assert "com.github.apple.coremltools.version" in package.metadata.tools
    function = package.functions["main"]
    assert function.opset == "CoreML8"
    (given,), (output,) = function.input_features, function.output_features
    assert (given.name, given.kind, given.dtype, given.shape) == (
        "a",
        "multi_array",
        "fp32",
        (2, 8),
    )
    assert (output.name, output.shape) == ("out", (2, 16))
    assert [str(each.type) for each in function.inputs] == ["fp32 [2,8]"]
    assert [o.type for o in function.block.operations if o.type != "const"] == ["linear", "relu"]
    constants = [o.attributes["val"] for o in function.block.operations if o.type == "const"]
    weights = next(value for value in constants if value.blob is not None)
    np.testing.assert_array_equal(package.array(weights), normal(16, 8))


def test_the_tables_are_apples() -> None:
    """Every field that is read has Apple's name, number, kind and repetition."""
    apples = {}
    for module in (Model_pb2, FeatureTypes_pb2, MIL_pb2):
        apples |= dict(module.DESCRIPTOR.message_types_by_name)
    for parent in ("Argument", "Dimension", "Value", "TensorValue"):
        apples |= {nested.name: nested for nested in apples[parent].nested_types}
    ours = {"BlobFile": "BlobFileValue"}
    ours |= {
        name: f"Repeated{name}"
        for name in ("Floats", "Ints", "Bools", "Strings", "LongInts", "Doubles", "Bytes")
    }
    compared = 0

    def compare(field: Field, apple: object) -> None:
        assert field.name == apple.name  # type: ignore[attr-defined]
        map_entry = apple.message_type and apple.message_type.GetOptions().map_entry  # type: ignore[attr-defined]
        assert field.is_map == bool(map_entry)
        if not field.is_map:
            assert field.repeated == apple.is_repeated  # type: ignore[attr-defined]
        if isinstance(field.kind, Message):
            assert apple.message_type is not None  # type: ignore[attr-defined]
            if not field.is_map and field.kind.name != "Empty":
                expected = ours.get(field.kind.name, field.kind.name)
                assert apple.message_type.name == expected  # type: ignore[attr-defined]
        else:
            numbers = {"double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8}
            numbers |= {"string": 9, "bytes": 12, "enum": 14}
            assert apple.type == numbers[field.kind]  # type: ignore[attr-defined]

    seen: set[str] = set()
    queue = [(schema.MODEL, apples["Model"])]
    while queue:
        message, apple = queue.pop()
        if message.name in seen or message.name == "Empty":
            continue
        seen.add(message.name)
        for number, field in message.fields.items():
            compare(field, apple.fields_by_number[number])
            compared += 1
            if isinstance(field.kind, Message):
                queue.append((field.kind, apple.fields_by_number[number].message_type))
    assert compared > 80
    assert seen - {name for name in seen if name.startswith("map")} == schema.TABLES.keys() - {
        "Empty"
    }


def test_the_codes_are_apples() -> None:
    apple = dict(MIL_pb2.DataType.items())
    short = {"FLOAT16": "fp16", "FLOAT32": "fp32", "FLOAT64": "fp64"}
    codes = {code: short.get(name, name.lower()) for name, code in apple.items()}
    assert {code: dtype.name for code, dtype in BY_CODE.items()}.items() <= codes.items()
    assert codes[STRING] == "string"
    arrays = dict(FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.items())
    assert set(schema.ARRAY_DTYPES) == set(arrays.values()) - {0}
    colours = dict(FeatureTypes_pb2.ImageFeatureType.ColorSpace.items())
    assert {c: n.upper() for c, n in schema.COLOURS.items()} == {
        code: name.replace("FLOAT16", "FP16") for name, code in colours.items() if code
    }


def damage_manifest(package: Path, **path: str) -> None:
    text = json.loads((package / "Manifest.json").read_text())
    text["itemInfoEntries"][text["rootModelIdentifier"]] |= path
    (package / "Manifest.json").write_text(json.dumps(text))


def cut(package: Path, name: str, size: int) -> None:
    (package / name).write_bytes((package / name).read_bytes()[:size])


def rename_blob(name: str) -> Callable[[Model_pb2.Model], None]:
    return lambda model: setattr(weight(model).blobFileValue, "fileName", name)


def move_blob(offset: int) -> Callable[[Model_pb2.Model], None]:
    return lambda model: setattr(weight(model).blobFileValue, "offset", offset)


def link_out(package: Path) -> None:
    (package / "outside.bin").write_bytes((package / WEIGHTS).read_bytes())
    (package / "outside.bin").rename(package.parent / "outside.bin")
    (package / WEIGHTS).unlink()
    (package / WEIGHTS).symlink_to(package.parent / "outside.bin")


def claim(package: Path, size: int, start: int) -> None:
    data = bytearray((package / WEIGHTS).read_bytes())
    struct.pack_into("<QQ", data, 64 + 8, size, start)
    (package / WEIGHTS).write_bytes(data)


ATTACKS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), "bundle.missing_file", "Manifest"),
    "manifest is no JSON": (
        lambda p: (p / "Manifest.json").write_text("{"),
        "bundle.json",
        "not valid JSON",
    ),
    "manifest of another kind": (
        lambda p: (p / "Manifest.json").write_text("[1]"),
        "bundle.model",
        "no root model",
    ),
    "model outside": (
        lambda p: damage_manifest(p, path="../../other.mlmodel"),
        "bundle.path",
        "leads out",
    ),
    "model is absolute": (
        lambda p: damage_manifest(p, path="/etc/passwd"),
        "bundle.path",
        "leads out",
    ),
    "no model": (lambda p: (p / MODEL).unlink(), "bundle.missing_file", "model.mlmodel"),
    "no weights": (lambda p: (p / WEIGHTS).unlink(), "bundle.missing_file", "weight.bin"),
    "weights without header": (lambda p: cut(p, WEIGHTS, 20), "bundle.truncated", "too few"),
    "weights cut": (lambda p: cut(p, WEIGHTS, 200), "bundle.truncated", "ends at"),
    "weights of another version": (
        lambda p: (p / WEIGHTS).write_bytes(struct.pack("<II", 1, 9) + bytes(600)),
        "bundle.model",
        "version 9",
    ),
    "weights link out": (link_out, "bundle.path", "leads out"),
    "weights elsewhere": (
        lambda p: edit(p, rename_blob("@model_path/../../../../x.bin")),
        "bundle.path",
        "leads out",
    ),
    "weights absolute": (lambda p: edit(p, rename_blob("/etc/passwd")), "bundle.path", "passwd"),
    "offset outside": (lambda p: edit(p, move_blob(1 << 40)), "bundle.path", "offset"),
    "offset odd": (lambda p: edit(p, move_blob(65)), "bundle.path", "offset 65"),
    "offset into data": (lambda p: edit(p, move_blob(128)), "bundle.model", "holds no value"),
    "data outside": (lambda p: claim(p, 512, 1 << 50), "bundle.truncated", "ends at"),
    "data of another size": (lambda p: claim(p, 4, 128), "bundle.model", "holds 4 bytes"),
    "another element type": (
        lambda p: edit(p, lambda m: setattr(weight(m).type.tensorType, "dataType", 10)),
        "bundle.model",
        "the program declares fp16",
    ),
    "garbage": (lambda p: (p / MODEL).write_bytes(b"\x0f" * 99), "bundle.model", "wire type"),
    "model cut": (lambda p: cut(p, MODEL, 300), "bundle.model", "after the end"),
    "empty model": (lambda p: cut(p, MODEL, 0), "bundle.model", "version 0 is unknown"),
    "unknown version": (
        lambda p: edit(p, lambda m: setattr(m, "specificationVersion", 99)),
        "bundle.model",
        "version 99 is unknown; this edgecap reads ML programs of versions 6 to 10",
    ),
    "no ML program": (
        lambda p: edit(p, lambda m: m.neuralNetwork.SetInParent()),
        "bundle.model",
        "not an ML program",
    ),
    "no function": (
        lambda p: edit(p, lambda m: m.mlProgram.functions.clear()),
        "bundle.model",
        "no function",
    ),
    "unknown opset": (
        lambda p: edit(p, lambda m: setattr(m.mlProgram.functions["main"], "opset", "CoreML99")),
        "bundle.model",
        "CoreML99",
    ),
    "unknown operation": (
        lambda p: edit(p, lambda m: setattr(operation(m, "relu"), "type", "teleport")),
        "bundle.model",
        "teleport at 'out' of function 'main'",
    ),
    "unknown input": (
        lambda p: edit(
            p, lambda m: operation(m, "relu").inputs["z"].CopyFrom(operation(m, "relu").inputs["x"])
        ),
        "bundle.model",
        "does not support its input 'z'",
    ),
    "missing input": (
        lambda p: edit(p, lambda m: operation(m, "linear").inputs.pop("x")),
        "bundle.model",
        "its input 'x' is missing",
    ),
    "use before definition": (
        lambda p: edit(p, lambda m: block(m).operations.reverse()),
        "bundle.model",
        "no earlier operation computes",
    ),
    "defined twice": (
        lambda p: edit(p, lambda m: block(m).operations.append(operation(m, "relu"))),
        "bundle.model",
        "'out' is defined twice",
    ),
    "output of nothing": (
        lambda p: edit(p, lambda m: block(m).outputs.append("nothing")),
        "bundle.model",
        "no operation computes it",
    ),
    "impossible size": (
        lambda p: edit(
            p,
            lambda m: setattr(
                operation(m, "relu").outputs[0].type.tensorType.dimensions[0].constant,
                "size",
                1 << 62,
            ),
        ),
        "bundle.model",
        "impossible shape",
    ),
    "a text that is computed": (
        lambda p: edit(
            p, lambda m: setattr(operation(m, "relu").outputs[0].type.tensorType, "dataType", 2)
        ),
        "bundle.model",
        "only constants may be",
    ),
    "a text that goes in": (
        lambda p: edit(
            p,
            lambda m: setattr(
                m.mlProgram.functions["main"].inputs[0].type.tensorType, "dataType", 2
            ),
        ),
        "bundle.model",
        "only constants may be",
    ),
    "unknown element type": (
        lambda p: edit(
            p, lambda m: setattr(operation(m, "relu").outputs[0].type.tensorType, "dataType", 13)
        ),
        "bundle.model",
        "unknown type 13",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(package: Path, name: str) -> None:
    damage, code, says = ATTACKS[name]
    damage(package)
    error = refused(package)
    assert (error.code, says in error.message) == (code, True), error


def test_no_package_at_all(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.mlpackage").code == "bundle.missing"
    (tmp_path / "file.mlpackage").write_text("x")
    assert refused(tmp_path / "file.mlpackage").code == "bundle.missing"


@given(st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_changed_bytes_are_run_or_refused(package: Path, data: st.DataObject) -> None:
    """No byte of the model makes anything but a package that runs or one clear error."""
    whole = bytearray((package / MODEL).read_bytes())
    kept = bytes(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (package / MODEL).write_bytes(whole)
    try:
        function = Program.open(package).function()
        function.run(
            {
                name: np.zeros([size or 1 for size in each.type.shape], np.float32)
                for name, each in function.inputs.items()
            }
        )
    except EdgecapError as error:
        assert str(error)
    finally:
        (package / MODEL).write_bytes(kept)


def test_a_result_of_another_shape_than_declared(package: Path) -> None:
    def change(model: Model_pb2.Model) -> None:
        operation(model, "relu").outputs[0].type.tensorType.dimensions[1].constant.size = 15

    edit(package, change)
    function = Program.open(package).function()
    with pytest.raises(
        BundleError, match=r"returned \[2, 16\]; the program declares fp32 \[2,15\]"
    ):
        function.run({"a": normal(2, 8)})


def test_nothing_stays_that_is_not_needed(made: Path) -> None:
    """Every slot but those of constants and outputs is emptied by the step that reads it last."""
    plan = Program.open(made).function()._schedule
    freed = [slot for step in plan.steps for slot in step.free]
    assert len(freed) == len(set(freed))
    assert plan.inputs["a"] in freed
    assert not set(freed) & set(plan.outputs.values())


def test_constants_are_computed_before_the_first_run() -> None:
    def build(a: object) -> object:
        table = mb.transpose(x=mb.const(val=normal(4, 3)), perm=[1, 0])
        return mb.matmul(x=a, y=table)

    (found,) = evaluate(build, normal(2, 3))
    np.testing.assert_allclose(found, normal(2, 3) @ normal(4, 3).T, atol=1e-6)
