"""The Python API: as short as the commands, light to import, and no wider than written here."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_onnx import image

import edgecap
import edgecap.runtime
from edgecap import api
from edgecap.core.errors import InputError
from edgecap.exporters.prepare import export_request, prepare_export


def test_what_edgecap_offers() -> None:
    assert edgecap.__all__ == [
        "EdgecapError", "__version__", "bench", "caption", "export", "load", "verify",
    ]  # fmt: skip
    for name in edgecap.__all__:
        assert getattr(edgecap, name) is not None and name in dir(edgecap)
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        _ = edgecap.exprot  # type: ignore[attr-defined]


def test_what_the_runtime_offers() -> None:
    """Names that apps import: one that goes breaks them."""
    assert set(edgecap.runtime.__all__) >= {
        "Attention",
        "Caption",
        "Captioner",
        "EdgecapError",
        "InputError",
        "Letterbox",
        "Mention",
        "Sampling",
        "WordMap",
        "load",
    }
    for name in edgecap.runtime.__all__:
        assert hasattr(edgecap.runtime, name)


@pytest.mark.parametrize("name", ["bench", "caption", "export", "load", "verify"])
def test_every_function_is_typed_and_documented(name: str) -> None:
    function = getattr(edgecap, name)
    assert function is getattr(api, name)
    assert "Args:" in inspect.getdoc(function) or name == "verify"
    assert "Raises" in inspect.getdoc(function)
    parameters = inspect.signature(function).parameters.values()
    assert all(p.annotation is not p.empty for p in parameters)


def test_importing_it_is_light() -> None:
    code = "import sys, edgecap, edgecap.api; print(*{n.split('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "torch", "typer", "rich"} & set(done.stdout.split())


def test_a_bundle_is_loaded_captioned_and_verified(tiny_bundle_made: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(image(0, 60, 40))
    captioner = edgecap.load(tiny_bundle_made)
    (expected,) = captioner.caption(photo, lang="pt")
    assert edgecap.caption(photo, tiny_bundle_made, lang="pt-BR") == [expected]
    assert expected.lang == "pt"
    verification = edgecap.verify(tiny_bundle_made)
    assert verification.failures == [] and verification.at_export is not None


def test_what_is_wrong_is_raised_and_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(edgecap.EdgecapError, match="bundle.missing"):
        edgecap.load(tmp_path / "none")
    with pytest.raises(InputError, match="precision.conflict"):
        edgecap.export("S", fp16=True, int8=True)
    with pytest.raises(InputError, match="format.unknown"):
        edgecap.export("S", format=["onnx", "torchscript"])
    with pytest.raises(InputError, match="weights.missing"):
        edgecap.export(str(tmp_path / "none.safetensors"), format="onnx")
    assert capsys.readouterr() == ("", "")


def test_a_request_becomes_a_bundle_per_format(tmp_path: Path) -> None:
    one = prepare_export("S", formats=["onnx"], precision="fp16", output=tmp_path / "one")
    assert one.outputs == {"onnx": tmp_path / "one"}
    both = prepare_export("S", formats=["onnx", "tflite"], precision="w8a8", output=tmp_path)
    assert both.outputs == {
        "onnx": tmp_path / "captioner-S-onnx-w8a8",
        "tflite": tmp_path / "captioner-S-tflite-w8a8",
    }
    request = export_request("S", formats=["onnx"], precision="w8a8", num_calib=32, seed=7)
    assert (request.calibration.images, request.calibration.seed) == (32, 7)
