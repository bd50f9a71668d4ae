"""An APK of the sample, from distribution packages: assembled, aligned, signed and read back.

No device and no emulator runs it; test_android.py runs the same library on a desktop.
"""

import re
import zipfile
from pathlib import Path

import android_package
import numpy as np
import pytest
from android import PROJECT, android_jar, compile_kotlin, run
from android_package import APP, LEAST_API

from edgecap.runtime import load

pytestmark = pytest.mark.full

IMAGE = np.full((20, 30, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def apk(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return android_package.package(bundles["onnx"], tmp_path_factory.mktemp("apk"))


def test_it_is_signed_and_aligned(apk: Path) -> None:
    said = run(["apksigner", "verify", "--verbose", "--min-sdk-version", LEAST_API, apk])
    assert "Verifies" in said and re.search(r"v2 scheme .*: true", said)
    run(["zipalign", "-c", "-p", "4", apk])


def test_the_system_reads_it(apk: Path) -> None:
    said = run(["aapt", "dump", "badging", apk])
    assert "package: name='dev.edgecap.sample'" in said
    assert "launchable-activity: name='dev.edgecap.sample.PhotoActivity'" in said
    assert "native-code: 'arm64-v8a'" in said


def test_what_is_in_it(apk: Path, bundles: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(apk) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        packed = tmp_path / "bundle.edgecap"
        packed.write_bytes(archive.read("assets/bundle.edgecap"))
        dex = archive.read("classes.dex")
    assert load(packed).caption(IMAGE) == load(bundles["onnx"]).caption(IMAGE)
    assert b"Ldev/edgecap/Captioner;" in dex and b"Lkotlinx/coroutines/flow/Flow;" in dex
    libraries = [f"lib/arm64-v8a/{name}.so" for name in ("libedgecap_jni", "libonnxruntime")]
    for name in ["assets/bundle.edgecap", *libraries]:  # they are mapped, so they are stored
        assert entries[name].compress_type == zipfile.ZIP_STORED


def test_the_library_needs_only_what_android_has(tmp_path: Path) -> None:
    library = android_package.native_library(tmp_path)
    names = android_package.undefined(library)
    assert {"malloc", "dlopen", "fopen"} <= names
    assert names <= android_package.bionic(), names - android_package.bionic()
    needed = run(["llvm-readelf", "-d", "-l", library])
    assert "libc.so" in needed and "libonnxruntime" not in needed
    assert re.search(r"LOAD .* 0x4000\n", needed)  # pages of 16 KiB
    exported = run(["llvm-nm", "-D", "--defined-only", library])
    assert "Java_dev_edgecap_Native_describe" in exported and " ec_" not in exported


def test_the_camera_fits_its_declarations(tmp_path: Path) -> None:
    """Against the few lines of AndroidX in declared/; R is made by hand."""
    numbers = tmp_path / "R.java"
    strings = re.findall(r'name="(\w+)"', (APP / "res/values/strings.xml").read_text())
    fields = " ".join(f"public static int {name} = {n};" for n, name in enumerate(strings))
    numbers.write_text(
        "package dev.edgecap.sample;\n"
        f"public class R {{ public static class string {{ {fields} }} }}\n"
    )
    declared = Path(__file__).parent / "android" / "declared"
    sources = [*PROJECT.rglob("*.kt"), *declared.glob("*.kt"), numbers]
    compile_kotlin(sources, tmp_path / "out", android_jar())
