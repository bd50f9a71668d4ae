"""What a start imports: nothing that a first caption does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny_onnx import write_bundle

import edgecap.runtime
from edgecap.runtime import loading


def imported(code: str) -> set[str]:
    """Modules after `code` in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_importing_the_runtime_imports_neither_numpy_nor_pillow() -> None:
    assert not {"numpy", "PIL", "edgecap.runtime.loading"} & imported("import edgecap.runtime")


def test_every_public_name_is_found_at_its_first_use() -> None:
    assert all(getattr(edgecap.runtime, name) for name in edgecap.runtime.__all__)
    assert set(edgecap.runtime.__all__) <= set(dir(edgecap.runtime))


def test_listing_formats_reads_no_package_metadata_where_none_declares_one() -> None:
    found = imported("from edgecap.core.formats import FORMATS; assert 'onnx' in list(FORMATS)")
    assert "importlib.metadata" not in found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "tiny-onnx"
    write_bundle(path, verified=False)
    return path


def test_a_first_caption_imports_what_its_own_image_and_bundle_need(bundle: Path) -> None:
    Image.new("RGB", (30, 20), "red").save(bundle.parent / "red.png")
    call = f"load({str(bundle)!r}).caption({str(bundle.parent / 'red.png')!r})"
    found = imported(f"from edgecap.runtime import load; assert {call}")
    assert "PIL.PngImagePlugin" in found
    others = {"PIL.TiffImagePlugin", "PIL.WebPImagePlugin", "PIL.ImageCms", "importlib.metadata"}
    assert not {*others, "edgecap.bundle.schema1", "edgecap.bundle.upgrade", "difflib"} & found


def test_onnxruntime_reports_nothing(bundle: Path, tmp_path: Path) -> None:
    """Its reports, of 1.29 and later, begin with an id of the device in the home directory."""
    code = f"from edgecap.runtime import load; load({str(bundle)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env={"HOME": str(tmp_path)})
    assert list(tmp_path.rglob("*")) == []


def test_captions_need_no_tokenizer_of_texts(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(loading, "Tokenizer", lambda data, name: opened.append(name) or name)
    captioner = loading.load(bundle)
    assert captioner.caption(Image.new("RGB", (30, 20), "red"))[0].tokens
    assert not opened
    assert captioner.tokenizer == captioner.tokenizer == captioner.manifest.encoder
    assert opened == [captioner.manifest.encoder]
