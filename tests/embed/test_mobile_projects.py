"""Projects for phones: everything that a build names is there, and the native part builds."""

import re
from pathlib import Path

import pytest
from android import java_headers, run
from c_edgecap import STRICT
from tiny_formats import write

from edgecap.bundle.io import open_bundle
from edgecap.embed.project import write_project
from edgecap.runtime import load


@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_android(format_: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    project = write_project("android", bundles[format_], tmp_path / "project")
    settings = (project / "settings.gradle.kts").read_text()
    modules = re.findall(r'":(\w+)"', settings)
    assert modules == ["edgecap", "app"]
    for module in modules:
        assert (project / module / "build.gradle.kts").exists()
        assert (project / module / "src" / "main" / "AndroidManifest.xml").exists()
    engine = {"onnx": "onnxruntime-android", "tflite": "litert"}[format_]
    assert f":{engine}:" in (project / "app" / "build.gradle.kts").read_text()
    load(project / "app" / "src" / "main" / "assets" / "bundle.edgecap")
    assert "@" not in re.sub(r"@\w+/", "", (project / "README.md").read_text())


@pytest.mark.full
def test_the_native_part_builds(bundles: dict[str, Path], tmp_path: Path) -> None:
    project = write_project("android", bundles["onnx"], tmp_path / "project")
    native = project / "edgecap" / "src" / "main" / "cpp"
    sources = [*native.glob("*.c"), *(native / "core").glob("*.c")]
    flags = [*STRICT, "-O0", "-fPIC", "-shared", f"-I{native / 'core'}", *java_headers()]
    run(["gcc", *flags, *sources, "-o", tmp_path / "libedgecap_jni.so", "-lm", "-ldl"])


def test_ios(tmp_path: Path) -> None:
    project = write_project("ios", write("coreml", tmp_path), tmp_path / "project")
    core = project / "Sources" / "CEdgecap"
    assert {f.name for f in (core / "include").iterdir()} == {"edgecap.h", "edgecap_engine.h"}
    assert (core / "engine_custom.c").exists() and not (core / "cli.c").exists()
    assert open_bundle(project / "bundle").manifest.name == "tiny-coreml"
    targets = re.findall(r'name: "(\w+)"', (project / "Package.swift").read_text())
    for target in targets[2:]:
        assert (project / "Sources" / target).is_dir() or (project / "Tests" / target).is_dir()
