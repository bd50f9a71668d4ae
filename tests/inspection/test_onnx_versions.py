"""An ONNX file that is newer than the engine is refused with the version that it needs."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from edgecap.core.errors import BundleError
from edgecap.inspection.onnx import RUNTIMES, check_ir_version, ir_version


def model(path: Path, version: int) -> Path:
    graph = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) {y = Relu(x)}'
    made = onnx.parser.parse_model(graph)
    made.ir_version = version
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("version", [3, 8, 10, 13, 99])
def test_the_version_is_read(tmp_path: Path, version: int) -> None:
    assert ir_version(model(tmp_path / "m.onnx", version)) == version


def test_only_the_version_is_read(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", 9)
    graph = path.read_bytes()
    path.write_bytes(graph[:2] + b"\x3a\x04\xff\xff\xff\xff")  # a graph that is none
    assert ir_version(path) == 9


def test_an_older_engine_is_told_which_it_must_be(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx", 11)
    with pytest.raises(BundleError) as caught:
        check_ir_version(path, "1.20.1")
    assert str(caught.value) == (
        "[bundle.model] m.onnx has ONNX IR version 11; onnxruntime 1.20.1 is too old for it. "
        "Run: pip install 'onnxruntime>=1.23', or export for an older one."
    )


@pytest.mark.parametrize("version", RUNTIMES)
def test_each_version_passes_from_its_engine_on(tmp_path: Path, version: int) -> None:
    path = model(tmp_path / "m.onnx", version)
    major, minor = RUNTIMES[version]
    check_ir_version(path, f"{major}.{minor}.0")
    check_ir_version(path, f"{major}.{minor + 9}.0+cu12")
    with pytest.raises(BundleError, match="too old"):
        check_ir_version(path, f"{major}.{minor - 1}.9")


def test_versions_of_the_future_and_the_past_are_left_to_the_engine(tmp_path: Path) -> None:
    for version in (3, 99):
        check_ir_version(model(tmp_path / "m.onnx", version), "1.20.1")


@pytest.mark.parametrize("data", [b"", b"\xff" * 9, b"no model"])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(BundleError):
        ir_version(tmp_path / "m.onnx")
