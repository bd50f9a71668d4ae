"""Packed bundles in C: mapped or in memory, on both engines; nothing is unpacked."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_edgecap import Library, Refused, Said, engine_library

from edgecap.bundle.packing import pack
from edgecap.runtime import load
from edgecap.runtime.captions import Caption


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)


def assert_same(said: Said, expected: Caption) -> None:
    assert (said.text, said.raw, said.tokens) == (expected.text, expected.raw, expected.tokens)
    assert said.mentions == tuple((m.phrase, m.boxes) for m in expected.mentions)


@pytest.fixture(scope="module", params=["tflite", "onnx"])
def packed(
    request: pytest.FixtureRequest,
    bundles: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Path]:
    """The format, the directory, and the file made of it."""
    bundle = bundles[request.param]
    out = tmp_path_factory.mktemp("packed") / "one.edgecap"
    return request.param, bundle, pack(bundle, out, strip=True)


def test_it_captions_and_embeds_as_the_directory(
    library: Library, packed: tuple[str, Path, Path]
) -> None:
    format_, bundle, file = packed
    ours, python = library.open(file, library=engine_library(format_)), load(bundle)
    for seed in range(3):
        assert_same(ours.describe(image(seed)), python.caption(image(seed))[0])
    expected = load(file).embed_texts("a dog")[0]
    np.testing.assert_array_equal(ours.embed_text(b"a dog"), expected)
    ours.close()


@pytest.mark.parametrize("shift", [0, 4, 63])
def test_bytes_in_memory_at_any_address(
    library: Library, packed: tuple[str, Path, Path], shift: int
) -> None:
    format_, bundle, file = packed
    data = file.read_bytes()
    room = np.zeros(len(data) + 128, np.uint8)
    begin = -room.ctypes.data % 64 + shift
    room[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
    ours = library.open_bytes(room.ctypes.data + begin, len(data), library=engine_library(format_))
    assert_same(ours.describe(image(1)), load(bundle).caption(image(1))[0])
    ours.close()


def test_what_is_no_packed_bundle(
    library: Library, packed: tuple[str, Path, Path], tmp_path: Path
) -> None:
    format_, _, file = packed
    data = bytearray(file.read_bytes())
    altered, cut, empty = (tmp_path / name for name in ("altered", "cut", "empty"))
    data[data.index(b'"merges"')] ^= 1
    altered.write_bytes(data)
    cut.write_bytes(data[:-1])
    empty.write_bytes(b"")
    for path, code in (
        (altered, "bundle.altered"),
        (cut, "bundle.container"),
        (empty, "bundle.container"),
    ):
        with pytest.raises(Refused) as refused:
            library.open(path, library=engine_library(format_))
        assert refused.value.code == code
    for address, size in ((None, 0), (ctypes.addressof(ctypes.create_string_buffer(9)), 9)):
        with pytest.raises(Refused) as refused:
            library.open_bytes(address, size)
        assert refused.value.code == ("bundle.container" if address else "bundle.missing")


def test_under_the_sanitizers(
    checked_cli: Path, packed: tuple[str, Path, Path], tmp_path: Path
) -> None:
    format_, bundle, file = packed
    pixels = image(2)
    (tmp_path / "image.rgb").write_bytes(pixels.tobytes())
    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    arguments = ["--library", engine_library(format_), "--raw", "rgb", size]
    command = [checked_cli, *arguments, file, tmp_path / "image.rgb"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, load(bundle).caption(pixels)[0].text), run


def test_documents_may_be_edited_and_added(
    library: Library, bundles: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundles["onnx"], copy)
    (copy / "README.md").write_text("mine")
    (copy / "NOTES.TXT").write_text("mine")
    (copy / "LICENSE").write_text("mine")
    library.open(copy, library=engine_library("onnx")).close()
