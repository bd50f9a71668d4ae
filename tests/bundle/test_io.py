"""Strict reading: each way a bundle can be wrong has its own name and one line."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecap.bundle.checks import SMALL
from edgecap.bundle.files import MANIFEST, check_name
from edgecap.bundle.io import bundles_in, finalize, open_bundle
from edgecap.bundle.schema1 import check_manifest
from edgecap.bundle.schemas import manifest_from_json
from edgecap.cli.app import main
from edgecap.core.errors import BundleError, InputError
from edgecap.core.typed import MAX_JSON_BYTES, parse
from edgecap.models.loading import load


def edit(bundle: Path, change: Callable[[dict], None]) -> None:
    """Change the manifest without sealing it again."""
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def refusal(bundle: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle)
    assert "\n" not in str(caught.value)
    return caught.value


def append(path: Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


FILE_DAMAGE: dict[str, Callable[[Path], object]] = {
    "bundle.missing_file": lambda b: (b / "decode.onnx").unlink(),
    "bundle.extra_file": lambda b: (b / "golden" / "run.sh").write_text("true"),
    "bundle.truncated": lambda b: (b / "decode.onnx").write_bytes(b"short"),
    "bundle.oversized": lambda b: append(b / "tokenizer.json", b" "),
    "bundle.altered": lambda b: flip(b / "decode.onnx"),
    "bundle.not_a_file": lambda b: (b / "link").symlink_to("nowhere"),
    "bundle.json": lambda b: (b / MANIFEST).write_text("{"),
}


def test_a_whole_bundle_opens(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    assert bundle.manifest.interface.dims["C"] == 292
    assert bundle.file("decode.onnx").is_file()
    with pytest.raises(BundleError, match=r"bundle\.missing_file"):
        bundle.file("../secret")


@pytest.mark.parametrize("code", FILE_DAMAGE)
def test_damaged_files_are_refused_by_name(tiny_bundle: Path, code: str) -> None:
    FILE_DAMAGE[code](tiny_bundle)
    assert refusal(tiny_bundle).code == code


def captions(bundle: Path) -> list[str]:
    return [c.raw for c in load(bundle).caption([np.zeros((9, 9, 3), np.uint8)], max_length=4)]


def test_through_a_hubs_cache(tiny_bundle: Path, tmp_path: Path) -> None:
    """A snapshot of links into blobs, as huggingface_hub lays it."""
    expected = captions(tiny_bundle)
    snapshot, blobs = tmp_path / "models--me--tiny" / "snapshots" / "0a1b", tmp_path / "blobs"
    blobs.mkdir(parents=True)
    for file in sorted(tiny_bundle.rglob("*")):
        if file.is_file():
            name = file.relative_to(tiny_bundle)
            blob = blobs / str(len(list(blobs.iterdir())))
            shutil.copyfile(file, blob)
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            up = "/".join([".."] * (len(name.parts) + 2))
            (snapshot / name).symlink_to(f"{up}/blobs/{blob.name}")
    assert captions(snapshot) == expected
    assert main(["verify", str(snapshot)]) == 0
    flip((snapshot / "decode.onnx").resolve())
    assert refusal(snapshot).code == "bundle.altered"
    (snapshot / "decode.onnx").resolve().unlink()
    assert refusal(snapshot).code == "bundle.not_a_file"
    cache = snapshot.parent.parent
    assert refusal(cache).hint == f"Give a snapshot: {snapshot}"


def test_from_a_clone_a_mac_and_network_storage(tiny_bundle: Path) -> None:
    for name in (
        ".git/objects/pack/a/b/c/d/e",
        ".gitattributes",
        ".cache/huggingface/download/decode.onnx.metadata",
        "._decode.onnx",
        "golden/._logits.npy",
        "Icon\r",
        "@eaDir/decode.onnx/SYNOINDEX",
        ".nomedia",
        ".DS_Store",
        "golden/.DS_Store",
        "Thumbs.db",
        "__MACOSX/x",
        "LICENSE",
        "LICENSE.md",
        "docs/screenshot.png",
    ):
        (tiny_bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (tiny_bundle / name).write_bytes(b"\0\5\x16\7")
    assert captions(tiny_bundle)
    assert main(["verify", str(tiny_bundle)]) == 0
    assert "LICENSE" not in open_bundle(tiny_bundle).manifest.files


def test_the_card_may_be_edited(tiny_bundle: Path) -> None:
    (tiny_bundle / "README.md").write_text("line\nline\n")
    sealed = finalize(tiny_bundle, open_bundle(tiny_bundle).manifest)
    assert "README.md" in sealed.files
    for card in (b"line\r\nline\r\n", b"another, much longer card", b""):
        (tiny_bundle / "README.md").write_bytes(card)
        assert "README.md" in open_bundle(tiny_bundle, "full").manifest.files
    with pytest.raises(BundleError, match=r"bundle\.truncated"):  # who reads it by the bundle knows
        open_bundle(tiny_bundle).file("README.md")


def test_other_line_ends_are_named(tiny_bundle: Path) -> None:
    tokenizer = tiny_bundle / "tokenizer.json"
    text = b'{\n "a": 1\n}\n'
    manifest = open_bundle(tiny_bundle).manifest
    tokenizer.write_bytes(text)
    finalize(tiny_bundle, manifest)
    tokenizer.write_bytes(text.replace(b"\n", b"\r\n"))
    assert "line ends (CRLF)" in refusal(tiny_bundle).message
    (tiny_bundle / MANIFEST).write_bytes(
        (tiny_bundle / MANIFEST).read_bytes().replace(b"\n", b"\r\n")
    )
    assert refusal(tiny_bundle).code == "bundle.oversized"


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.mark.parametrize("name", [MANIFEST, "decode.onnx", "tokenizer.json"])
def test_what_git_lfs_left_out_is_named(tiny_bundle: Path, name: str) -> None:
    (tiny_bundle / name).write_bytes(POINTER)
    error = refusal(tiny_bundle)
    assert error.code == "bundle.lfs_pointer" and name in error.message
    assert error.hint == "Run: git lfs pull"


def test_what_is_given_in_place_of_a_bundle_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "tiny"), "zip", tiny_bundle)
    tar = shutil.make_archive(str(tmp_path / "tiny"), "gztar", tiny_bundle)
    packed = tmp_path / "tiny.edgecap"
    shutil.copyfile(archive, packed)
    (tmp_path / "pointer").write_bytes(POINTER)
    (tmp_path / "alone.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    (tmp_path / "model.safetensors").write_bytes(b"{}")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    (tmp_path / "alone.mlpackage").mkdir()
    (tmp_path / "gone").symlink_to("nowhere")
    for path, message, hint in (
        (archive, "is a zip archive", f"unzip {archive} -d {tmp_path}/tiny"),
        (tar, "is a packed archive", f"tar -xf {tar} -C {tmp_path}/tiny"),
        (packed, "tiny.edgecap", "edgecap pack"),
        (tmp_path / "pointer", "is a Git-LFS pointer", "git lfs pull"),
        (tiny_bundle / "decode.onnx", "is a model file", f"that contains it: {tiny_bundle}"),
        (tmp_path / "alone.tflite", "is a model file", "edgecap inspect"),
        (tmp_path / "alone.mlpackage", "is a model file", "edgecap inspect"),
        (tiny_bundle / MANIFEST, "is the manifest of a bundle", f"its directory: {tiny_bundle}"),
        (tmp_path / "model.safetensors", "is a file of weights", "edgecap export "),
        (tmp_path / "checkpoint", "is a checkpoint", "edgecap export "),
        (tmp_path, "it contains bundles: tiny-onnx-fp32", f"Give one: {tiny_bundle}"),
        (tmp_path / "gone", "a broken link", ""),
        (tmp_path / "nothing", "does not exist", "edgecap export"),
    ):  # fmt: skip
        error = refusal(Path(path))
        assert message in error.message and hint in error.hint, (path, str(error))


def test_weights_replaced_after_loading_are_refused(tiny_bundle: Path) -> None:
    captioner = load(tiny_bundle)
    opened = open_bundle(tiny_bundle)
    flip(tiny_bundle / "encode_text.onnx")  # which is opened at its first use
    with pytest.raises(BundleError, match=r"\[bundle\.altered\] encode_text\.onnx"):
        captioner.embed_texts(["a cat"])
    with pytest.raises(BundleError, match=r"bundle\.altered"):
        opened.file("encode_text.onnx")
    (tiny_bundle / "encode_text.onnx").unlink()
    with pytest.raises(BundleError, match=r"encode_text\.onnx was deleted"):
        opened.file("encode_text.onnx")
    assert opened.file("decode.onnx").is_file()


def test_large_files_are_believed_by_size_until_all_is_asked_for(tiny_bundle: Path) -> None:
    manifest = open_bundle(tiny_bundle).manifest
    weights = tiny_bundle / "weights.bin"
    weights.write_bytes(bytes(SMALL + 1))
    finalize(tiny_bundle, manifest)
    flip(weights)
    assert "weights.bin" in open_bundle(tiny_bundle).manifest.files
    with pytest.raises(BundleError, match=r"\[bundle\.altered\] weights\.bin"):
        open_bundle(tiny_bundle, verify="full")
    with pytest.raises(InputError, match=r"allowed: sizes, full"):
        open_bundle(tiny_bundle, verify="none")
    weights.write_bytes(bytes(SMALL))
    assert refusal(tiny_bundle).code == "bundle.truncated"


def test_numbers_of_more_than_64_bits_are_refused(tiny_bundle: Path) -> None:
    file = tiny_bundle / MANIFEST
    for digits in (20, 400):
        told = json.loads(file.read_text())
        told["interface"]["dims"]["P"] = 10**digits
        file.write_text(json.dumps(told))
        with pytest.raises(BundleError, match=r"more than 64 bits"):
            open_bundle(tiny_bundle)


def test_pipes_and_endless_manifests_are_no_bundles_to_choose(tiny_bundle: Path) -> None:
    here = tiny_bundle.parent
    (here / "pipe").mkdir()
    os.mkfifo(here / "pipe" / MANIFEST)
    (here / "sparse").mkdir()
    with (here / "sparse" / MANIFEST).open("wb") as file:
        file.truncate(1 << 40)
    assert bundles_in(here) == [here / "sparse", tiny_bundle]  # the one is told to be too large


def test_a_named_pipe_does_not_hang_the_reader(tiny_bundle: Path) -> None:
    os.mkfifo(tiny_bundle / "pipe")
    assert refusal(tiny_bundle).code == "bundle.not_a_file"


def test_of_an_emptied_folder_the_missing_file_is_told(tiny_bundle: Path) -> None:
    for file in (tiny_bundle / "golden").iterdir():
        file.unlink()
    error = refusal(tiny_bundle)
    assert error.code == "bundle.missing_file" and "golden/" in error.message


def test_an_app_may_leave_out_what_only_checks_and_tells(tiny_bundle: Path) -> None:
    whole = open_bundle(tiny_bundle).manifest
    shutil.rmtree(tiny_bundle / "golden")
    for name in ("README.md", "parity.json"):
        (tiny_bundle / name).unlink(missing_ok=True)
    manifest = open_bundle(tiny_bundle).manifest
    gone = whole.files.keys() - manifest.files.keys()
    assert gone == {n for n in whole.files if n.startswith(("golden/", "README", "parity"))}
    captioner = load(tiny_bundle)
    assert captioner.caption(np.zeros((9, 9, 3), np.uint8), max_length=4)
    assert main(["verify", str(tiny_bundle)]) == 2
    (tiny_bundle / "tokenizer.json").unlink()
    assert refusal(tiny_bundle).code == "bundle.missing_file"


def test_a_part_of_what_checks_is_refused(tiny_bundle: Path) -> None:
    (tiny_bundle / "golden" / "logits.npy").unlink()
    assert refusal(tiny_bundle).code == "bundle.missing_file"


def test_what_file_managers_leave_is_passed_over(tiny_bundle: Path) -> None:
    for place in (tiny_bundle, tiny_bundle / "golden"):
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert ".DS_Store" not in open_bundle(tiny_bundle).manifest.files


def test_an_empty_folder_is_extra(tiny_bundle: Path) -> None:
    (tiny_bundle / "more").mkdir()
    assert refusal(tiny_bundle).code == "bundle.extra_file"


def test_no_bundle_at_all(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing").code == "bundle.missing"
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file").code == "bundle.missing"
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").code == "bundle.missing_file"


def _set(*keys: str, value: object) -> Callable[[dict], None]:
    def change(manifest: dict) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


ENTRY = {"sha256": "0" * 64, "size": 3}
MANIFEST_DAMAGE = [
    (_set("schema", value=3), "bundle.schema"),
    (_set("schema", value="1"), "bundle.schema"),
    (_set("surprise", value=1), "bundle.unknown_field"),
    (_set("contract", "surprise", value=1), "bundle.unknown_field"),
    (lambda m: m.pop("languages"), "bundle.missing_field"),
    (_set("weights", value="S"), "bundle.manifest"),
    (_set("weights", value=3), "bundle.field_type"),
    (_set("languages", value="en"), "bundle.field_type"),
    (_set("languages", value=[1]), "bundle.field_type"),
    (_set("languages", value=[]), "bundle.manifest"),
    (_set("contract", "layers", value=True), "bundle.field_type"),
    (_set("contract", "layers", value=1.5), "bundle.field_type"),
    (_set("contract", "layers", value=-1), "bundle.manifest"),
    (_set("contract", "patches", value=195), "bundle.manifest"),
    (_set("contract", "layers", value=1 << 40), "bundle.oversized"),
    (_set("contract", "cache", value="object"), "bundle.manifest"),
    (_set("contract", "batch", value=3), "bundle.manifest"),
    (lambda m: m["contract"]["functions"].pop("decode"), "bundle.manifest"),
    (lambda m: m["contract"]["functions"]["decode"]["inputs"].pop("k"), "bundle.manifest"),
    (_set("contract", "functions", "decode", "file", value="other.onnx"), "bundle.missing_file"),
    (_set("contract", "functions", "decode", "file", value="golden"), "bundle.missing_file"),
    (_set("contract", "functions", "decode", "file", value="a.mlpackage"), "bundle.missing_file"),
    (
        _set("contract", "functions", "decode", "file", value="../x.mlpackage"),
        "bundle.missing_file",
    ),
    (_set("preprocessing", "resample", value="nearest"), "bundle.manifest"),
    (_set("preprocessing", "size", value=10**9), "bundle.manifest"),
    (_set("coordinates", "order", value="xywh"), "bundle.manifest"),
    (_set("tokenizer", "sha256", value="0" * 64), "bundle.manifest"),
    (_set("tokenizer", "file", value="nowhere.json"), "bundle.missing_file"),
    (_set("files", "../../etc/passwd", value=ENTRY), "bundle.path"),
    (_set("files", "/etc/passwd", value=ENTRY), "bundle.path"),
    (_set("files", "C:\\x", value=ENTRY), "bundle.path"),
    (_set("files", ".hidden", value=ENTRY), "bundle.path"),
    (_set("files", "1/2/3/4/5/file", value=ENTRY), "bundle.path"),
    (_set("files", MANIFEST, value=ENTRY), "bundle.path"),
    (_set("files", "DECODE.onnx", value=ENTRY), "bundle.manifest"),
    (_set("files", "decode.onnx", "sha256", value="zz"), "bundle.manifest"),
    (_set("files", "ghost.bin", value=ENTRY), "bundle.missing_file"),
]


@pytest.mark.parametrize(("change", "code"), MANIFEST_DAMAGE)
def test_a_wrong_manifest_of_schema_1_is_refused_by_name(
    schema1_bundle: Path, change: Callable[[dict], None], code: str
) -> None:
    edit(schema1_bundle, change)
    assert refusal(schema1_bundle).code == code


def test_an_older_manifest_that_tells_no_weights_is_read(schema1_bundle: Path) -> None:
    edit(schema1_bundle, lambda manifest: manifest.pop("weights"))
    assert open_bundle(schema1_bundle).manifest.weights is None


def test_own_fields_need_a_prefix(tiny_bundle: Path) -> None:
    edit(tiny_bundle, _set("x_team", value={"any": "thing"}))
    assert open_bundle(tiny_bundle).manifest.name == "tiny-onnx-fp32"


MANY_KEYS = ("{" + ",".join(f'"{i:x}":0' for i in (*range(300_000), 299_999)) + "}").encode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a": 1, "a": 2}', "bundle.duplicate_key"),
        (MANY_KEYS, "bundle.duplicate_key"),  # in one pass, not in an hour
        (b'{"a": NaN}', "bundle.json"),
        (b"[" * 100_000, "bundle.json"),
        (b"\xff\xfe", "bundle.json"),
        (b"9" * 5000, "bundle.json"),
        (b" " * (MAX_JSON_BYTES + 1), "bundle.oversized"),
    ],
)
def test_json_is_strict(data: bytes, code: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse(data, "x.json")
    assert caught.value.code == code


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=150)
def test_no_json_value_gets_through_or_crashes(value: object) -> None:
    with pytest.raises(BundleError):
        manifest_from_json({"schema": 1, "name": value})


@given(st.text(max_size=20))
def test_a_name_that_is_accepted_stays_inside(name: str) -> None:
    try:
        check_name(name)
    except BundleError:
        return
    root = Path("/bundle")
    assert (root / name).resolve().is_relative_to(root)


PACKAGE_FILES = (
    "Manifest.json",
    "Data/com.apple.CoreML/model.mlmodel",
    "Data/com.apple.CoreML/weights/weight.bin",
)


@pytest.fixture
def with_package(tiny_bundle: Path) -> Path:
    """The tiny bundle, its decoder said to lie in a directory of files as coremltools lays it."""
    for name in PACKAGE_FILES:
        file = tiny_bundle / "model.mlpackage" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    manifest = manifest_from_json(json.loads((tiny_bundle / MANIFEST).read_bytes()))
    functions = dict(manifest.functions)
    functions["decode"] = replace(functions["decode"], file="model.mlpackage")
    finalize(tiny_bundle, replace(manifest, functions=functions))
    return tiny_bundle


def test_a_model_may_be_a_directory_of_listed_files(with_package: Path) -> None:
    bundle = open_bundle(with_package)
    assert bundle.file("model.mlpackage") == with_package / "model.mlpackage"
    assert {f"model.mlpackage/{name}" for name in PACKAGE_FILES} <= bundle.manifest.files.keys()
    for name in ("model.mlpackage/Data", "model.mlpackage/", "golden", "mlpackage"):
        with pytest.raises(BundleError, match=r"bundle\.missing_file"):
            bundle.file(name)


@pytest.mark.parametrize("name", PACKAGE_FILES)
def test_files_inside_a_package_are_checked_like_all(with_package: Path, name: str) -> None:
    flip(with_package / "model.mlpackage" / name)
    assert refusal(with_package).code == "bundle.altered"
    (with_package / "model.mlpackage" / name).unlink()
    assert refusal(with_package).code in ("bundle.missing_file", "bundle.extra_file")


def test_an_unlisted_file_inside_a_package_is_extra(with_package: Path) -> None:
    (with_package / "model.mlpackage" / "Data" / "more.bin").write_bytes(b"")
    assert refusal(with_package).code == "bundle.extra_file"


def test_sealing_again_takes_in_new_files(tiny_bundle: Path) -> None:
    before = open_bundle(tiny_bundle).manifest
    (tiny_bundle / "README.md").write_text("card")
    after = finalize(tiny_bundle, before)
    assert set(after.files) - set(before.files) == {"README.md"}
    assert open_bundle(tiny_bundle).manifest == after


def test_a_manifest_of_schema_1_survives_the_way_through_json(schema1_bundle: Path) -> None:
    manifest = open_bundle(schema1_bundle).manifest
    assert manifest_from_json(json.loads(json.dumps(asdict(manifest)))) == manifest
    with pytest.raises(BundleError):
        check_manifest(replace(manifest, styles=()))
