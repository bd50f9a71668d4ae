"""Strict reading: each way a bundle can be wrong has its own name and one line."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from refusals import bundle_refusal

from edgecap.bundle.checks import SMALL
from edgecap.bundle.files import MANIFEST
from edgecap.bundle.io import bundles_in, finalize, open_bundle
from edgecap.bundle.schemas import manifest_from_json
from edgecap.cli.app import main
from edgecap.core.errors import BundleError, InputError
from edgecap.models.loading import load


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
    assert bundle_refusal(tiny_bundle).code == code


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
    assert bundle_refusal(snapshot).code == "bundle.altered"
    (snapshot / "decode.onnx").resolve().unlink()
    assert bundle_refusal(snapshot).code == "bundle.not_a_file"
    cache = snapshot.parent.parent
    assert bundle_refusal(cache).hint == f"Give a snapshot: {snapshot}"


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
        "manifest.json:Zone.Identifier",
        "#snapshot/daily/decode.onnx",
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
    assert "line ends (CRLF)" in bundle_refusal(tiny_bundle).message
    (tiny_bundle / MANIFEST).write_bytes(
        (tiny_bundle / MANIFEST).read_bytes().replace(b"\n", b"\r\n")
    )
    assert bundle_refusal(tiny_bundle).code == "bundle.oversized"


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.mark.parametrize("name", [MANIFEST, "decode.onnx", "tokenizer.json"])
def test_what_git_lfs_left_out_is_named(tiny_bundle: Path, name: str) -> None:
    (tiny_bundle / name).write_bytes(POINTER)
    error = bundle_refusal(tiny_bundle)
    assert error.code == "bundle.lfs_pointer" and name in error.message
    assert error.hint == "Run: git lfs pull"


def test_what_is_given_in_place_of_a_bundle_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "tiny"), "zip", tiny_bundle)
    tar = shutil.make_archive(str(tmp_path / "tiny"), "gztar", tiny_bundle)
    packed = tmp_path / "tiny.edgecap"
    shutil.copyfile(archive, packed)
    bare = shutil.copyfile(archive, tmp_path / "bare")
    (tmp_path / "pointer").write_bytes(POINTER)
    (tmp_path / "pointer.onnx").write_bytes(POINTER)
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
        (bare, "is a zip archive", f"unzip {bare} -d {bare}-unpacked"),
        (tmp_path / "pointer", "is a Git-LFS pointer", "git lfs pull"),
        (tmp_path / "pointer.onnx", "is a Git-LFS pointer", "git lfs pull"),
        ("https://example.org/a.zip", "is a URL", "edgecap pull ORG/NAME"),
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
        error = bundle_refusal(Path(path))
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
    assert bundle_refusal(tiny_bundle).code == "bundle.truncated"


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
    assert bundle_refusal(tiny_bundle).code == "bundle.not_a_file"


def test_of_an_emptied_folder_the_missing_file_is_told(tiny_bundle: Path) -> None:
    for file in (tiny_bundle / "golden").iterdir():
        file.unlink()
    error = bundle_refusal(tiny_bundle)
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
    assert bundle_refusal(tiny_bundle).code == "bundle.missing_file"


def test_a_part_of_what_checks_is_refused(tiny_bundle: Path) -> None:
    (tiny_bundle / "golden" / "logits.npy").unlink()
    assert bundle_refusal(tiny_bundle).code == "bundle.missing_file"


def test_what_file_managers_leave_is_passed_over(tiny_bundle: Path) -> None:
    for place in (tiny_bundle, tiny_bundle / "golden"):
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert ".DS_Store" not in open_bundle(tiny_bundle).manifest.files


def test_an_empty_folder_is_extra(tiny_bundle: Path) -> None:
    (tiny_bundle / "more").mkdir()
    assert bundle_refusal(tiny_bundle).code == "bundle.extra_file"


def test_no_bundle_at_all(tmp_path: Path) -> None:
    assert bundle_refusal(tmp_path / "nothing").code == "bundle.missing"
    (tmp_path / "file").write_text("x")
    assert bundle_refusal(tmp_path / "file").code == "bundle.missing"
    (tmp_path / "empty").mkdir()
    assert bundle_refusal(tmp_path / "empty").code == "bundle.missing_file"


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
    assert bundle_refusal(with_package).code == "bundle.altered"
    (with_package / "model.mlpackage" / name).unlink()
    assert bundle_refusal(with_package).code in ("bundle.missing_file", "bundle.extra_file")


def test_an_unlisted_file_inside_a_package_is_extra(with_package: Path) -> None:
    (with_package / "model.mlpackage" / "Data" / "more.bin").write_bytes(b"")
    assert bundle_refusal(with_package).code == "bundle.extra_file"


def test_sealing_again_takes_in_new_files(tiny_bundle: Path) -> None:
    before = open_bundle(tiny_bundle).manifest
    (tiny_bundle / "README.md").write_text("card")
    after = finalize(tiny_bundle, before)
    assert set(after.files) - set(before.files) == {"README.md"}
    assert open_bundle(tiny_bundle).manifest == after
