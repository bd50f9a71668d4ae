"""Bundles that cannot be trusted: C refuses what Python refuses, by the same code, silently."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from c_edgecap import Library, Refused, compile_c, engine_library
from schema1 import into_schema1

from edgecap.bundle.files import MANIFEST
from edgecap.bundle.io import finalize, open_bundle
from edgecap.bundle.schemas import manifest_from_json
from edgecap.core.errors import BundleError
from edgecap.runtime import load


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def edit(bundle: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved").name)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def deep(bundle: Path) -> None:
    (bundle / "a/b/c/d/e").mkdir(parents=True)


def resealed(bundle: Path, change: Callable[[Path], object]) -> None:
    """Its content is wrong, and the manifest vouches for it."""
    manifest = open_bundle(bundle).manifest
    change(bundle)
    finalize(bundle, manifest)


def golden(bundle: Path, *present: str) -> None:
    """Lists golden files of which only some are there."""
    (bundle / "golden").mkdir()
    for name in (*present, "golden/absent"):
        (bundle / name).write_text("x")
    finalize(bundle, open_bundle_listing(bundle))
    (bundle / "golden/absent").unlink()
    if not present:
        (bundle / "golden").rmdir()


def open_bundle_listing(bundle: Path):
    return manifest_from_json(json.loads((bundle / MANIFEST).read_bytes()))


# Each is given a copy of the tiny tflite bundle.
DAMAGE: dict[str, Callable[[Path], object]] = {
    "no directory": shutil.rmtree,
    "a file": lambda b: (shutil.rmtree(b), b.write_text("x")),
    "an empty directory": lambda b: (shutil.rmtree(b), b.mkdir()),
    "no manifest": lambda b: (b / MANIFEST).unlink(),
    "an empty manifest": lambda b: (b / MANIFEST).write_text(""),
    "half a manifest": lambda b: cut(b / MANIFEST),
    "a huge manifest": lambda b: (b / MANIFEST).write_text(" " * (5 << 20)),
    "a manifest of brackets": lambda b: (b / MANIFEST).write_text("[" * (1 << 20)),
    "a manifest in Latin-1": lambda b: (b / MANIFEST).write_bytes(b'{"schema": 1, "x_\xe9": 1}'),
    "another schema": lambda b: edit(b, lambda m: m.update(schema=7)),
    "no tokenizer": lambda b: (b / "tokenizer.json").unlink(),
    "half a tokenizer": lambda b: cut(b / "tokenizer.json"),
    "a longer tokenizer": lambda b: grow(b / "tokenizer.json"),
    "another tokenizer": lambda b: flip(b / "tokenizer.json"),
    "no model": lambda b: (b / "model.tflite").unlink(),
    "another model": lambda b: flip(b / "model.tflite"),
    "a link": lambda b: link(b / "model.tflite"),
    "a link to the model": lambda b: (b / "extra").symlink_to("model.tflite"),
    "a pipe": lambda b: os.mkfifo(b / "pipe"),
    "a folder for a model": lambda b: replace_by_folder(b / "model.tflite"),
    "an extra file": lambda b: (b / "run.sh").write_text("true"),
    "a hidden file": lambda b: (b / ".hidden").write_text("x"),
    "an empty folder": lambda b: (b / "empty").mkdir(),
    "folders without end": deep,
    "half the golden files": lambda b: golden(b, "golden/present"),
    "all golden files left out": lambda b: golden(b),
    "what a file manager left": lambda b: (b / ".DS_Store").write_text("x"),
    "a model of noise": lambda b: resealed(
        b, lambda b: (b / "model.tflite").write_bytes(bytes(range(256)) * 40)
    ),
    "an empty model": lambda b: resealed(b, lambda b: (b / "model.tflite").write_bytes(b"")),
    "a tokenizer of noise": lambda b: resealed(
        b, lambda b: (b / "tokenizer.json").write_text('{"model": []}')
    ),
    "a function that is not there": lambda b: finalize(
        b, _with_function(open_bundle(b).manifest, entry="nothing")
    ),
    "a port that is not there": lambda b: finalize(
        b, _with_function(open_bundle(b).manifest, outputs={"text_embedding": "nothing"})
    ),
    "more layers than there are": lambda b: finalize(
        b,
        replace(m := open_bundle(b).manifest, interface=_sized(m.interface, L=3)),
    ),
    "schema 1: a smaller vocabulary": lambda b: finalize(
        b,
        replace(
            m := _of_schema1(b),
            contract=replace(m.contract, vocabulary=4000),
            grammar=replace(m.grammar, classes=m.grammar.classes | {"word": ((81, 4000),)}),
        ),
    ),
    "schema 1: a language without a token": lambda b: finalize(
        b, replace(_of_schema1(b), languages=("en", "tlh"))
    ),
    "schema 1: an end without a token": lambda b: finalize(
        b, replace(m := _of_schema1(b), tokenizer=replace(m.tokenizer, eos="<end>"))
    ),
    "schema 1: too many locations": lambda b: finalize(
        b, replace(m := _of_schema1(b), coordinates=replace(m.coordinates, bins=99_999))
    ),
}
# The engine's own words for these differ from binding to binding; all are bundle.model in C.
FINE = {"what a file manager left", "all golden files left out", "a hidden file"}
LATE = {
    "a function that is not there",
    "a port that is not there",
    "more layers than there are",
    "an empty model",  # Python walks a .tflite file before its engine sees it
}


def _with_function(manifest, **changes):
    decode = manifest.functions["decode"]
    changed = replace(decode, **changes)
    if "outputs" in changes:
        changed = replace(decode, outputs=decode.outputs | {"new_k": "no"})
    return replace(manifest, functions=manifest.functions | {"decode": changed})


def _sized(interface, **sizes):
    return replace(interface, dims=interface.dims | sizes)


def _of_schema1(bundle: Path):
    return open_bundle(into_schema1(bundle)).manifest


def python_code(bundle: Path) -> str | None:
    """What Python refuses a bundle with, when it is opened or first used."""
    try:
        load(bundle)
    except BundleError as error:
        return error.code
    return None


@pytest.fixture
def bundle(bundles: dict[str, Path], tmp_path: Path) -> Path:
    copy = tmp_path / "bundle"
    shutil.copytree(bundles["tflite"], copy)
    return copy


@pytest.mark.parametrize("damage", DAMAGE)
def test_refusals_are_those_of_python(
    damage: str, bundle: Path, library: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    DAMAGE[damage](bundle)
    expected = "bundle.model" if damage in LATE else python_code(bundle)
    capfd.readouterr()
    if expected is None:
        library.open(bundle, library=engine_library("tflite")).close()
        return
    with pytest.raises(Refused) as refused:
        library.open(bundle, library=engine_library("tflite"))
    assert refused.value.code == expected, str(refused.value)
    engine_ran = expected == "bundle.model"  # which writes lines of its own
    out, err = capfd.readouterr()
    assert out == "" and (engine_ran or err == "")


@pytest.mark.parametrize("damage", DAMAGE)
def test_under_sanitizers(damage: str, bundle: Path, checked_cli: Path) -> None:
    """One line, exit code 2, and nothing read, written or leaked that should not be."""
    DAMAGE[damage](bundle)
    run = subprocess.run(
        [checked_cli, "--library", engine_library("tflite"), "--text", "a dog", bundle],
        capture_output=True,
        text=True,
    )
    if damage in FINE:
        assert run.returncode == 0
        return
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert re.fullmatch(r"edgecap-caption: \[[a-z_.]+\] .{1,230}\n", run.stderr), run.stderr


def test_a_bundle_that_is_a_link(bundle: Path, tmp_path: Path, library: Library) -> None:
    (tmp_path / "link").symlink_to(bundle)
    library.open(tmp_path / "link", library=engine_library("tflite")).close()


@pytest.mark.parametrize("name", [b"", b"\xff\xfe", b"a" * 5000])
def test_names_of_no_bundle(name: bytes, library: Library) -> None:
    with pytest.raises(Refused) as refused:
        library.open(name)
    assert refused.value.code == "bundle.missing"


def test_engines_that_cannot_be_used(bundle: Path, tmp_path: Path, library: Library) -> None:
    source = tmp_path / "old.c"
    source.write_text(
        "int LiteRtCreateEnvironment(void); int LiteRtCreateEnvironment(void){return 0;}"
    )
    compile_c("-shared", "-fPIC", str(source), "-o", str(tmp_path / "old.so"))
    (tmp_path / "text.so").write_text("no library")
    cases = [
        ({"library": tmp_path / "none.so"}, "engine.missing"),
        ({"library": tmp_path / "text.so"}, "engine.missing"),
        ({"library": engine_library("onnx"), "engine": "litert"}, "engine.missing"),
        ({"library": tmp_path / "old.so", "engine": "litert"}, "engine.too_old"),
        ({"engine": "onnxruntime"}, "backend.format"),
        ({"engine": "tensorrt"}, "backend.unknown"),
        ({"engine": "tflite", "library": engine_library("tflite")}, "engine.missing"),
        ({"threads": 0}, "threads.number"),
        ({"threads": 65}, "threads.number"),
    ]
    for changes, code in cases:
        with pytest.raises(Refused) as refused:
            library.open(bundle, **changes)
        assert refused.value.code == code


def test_a_bare_name_of_a_library_is_told_to_be_a_path(bundle: Path, library: Library) -> None:
    """The system's loader does not look in the working directory."""
    with pytest.raises(Refused, match="cannot be opened; give its path") as refused:
        library.open(bundle, library="libNone.so")
    assert refused.value.code == "engine.missing"


def test_a_format_that_c_does_not_run(bundle: Path, library: Library) -> None:
    finalize(bundle, replace(open_bundle(bundle).manifest, format="coreml"))
    with pytest.raises(Refused) as refused:
        library.open(bundle)
    assert refused.value.code == "backend.format"
