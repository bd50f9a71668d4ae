"""Images in crops in C: what Python says on the same engine, token for token."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import Captioner, Library, Refused, compile_c, engine_library
from tiny_bundles import shared_bundle
from tiny_crops import photos

from edgecap.embed.project import write_project
from edgecap.embed.targets import targets
from edgecap.runtime import load
from edgecap.runtime.image_processing import process


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_bundle(tmp_path_factory, "idefics3", "crops")


@pytest.fixture
def captioner(library: Library, bundle: Path) -> Iterator[Captioner]:
    opened = library.open(bundle, library=engine_library("onnx"))
    yield opened
    opened.close()


def pixels() -> list[np.ndarray]:
    """uint8 [h,w,3] each."""
    return [np.asarray(photo) for photo in photos()]


def same_captions(captioner: Captioner, bundle: Path) -> None:
    python: Any = load(bundle)
    grids = {process(image, python.manifest.image).grid for image in pixels()}
    assert grids == {(1, 2), (2, 1), (2, 2)}
    said = [captioner.describe(image) for image in pixels()]
    for one, expected in zip(said, python.caption(pixels()), strict=True):
        assert (one.tokens, one.text) == (expected.tokens, expected.text)
        assert one.scores == pytest.approx(expected.scores, abs=2e-5)
    assert len({one.tokens for one in said}) > 1


def test_captions_are_those_of_python(captioner: Captioner, bundle: Path) -> None:
    same_captions(captioner, bundle)


def test_a_small_grid_after_a_large_one(captioner: Captioner) -> None:
    """Features that an image before it left are not seen."""
    wide, square = pixels()[2], pixels()[4]
    alone = captioner.describe(wide)
    captioner.describe(square)
    again = captioner.describe(wide)
    assert (again.tokens, again.scores) == (alone.tokens, alone.scores)


def more_rows(manifest: dict[str, Any]) -> None:
    manifest["interface"]["dims"]["F"] += 1


def another_graph(manifest: dict[str, Any]) -> None:
    manifest["functions"]["encode"]["file"] = manifest["functions"]["encode_crop"]["file"]


@pytest.mark.parametrize("change", [more_rows, another_graph])
def test_graphs_that_are_not_as_told(
    change: Callable[[dict[str, Any]], None], library: Library, bundle: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_bytes())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Refused) as refused:
        library.open(copy, library=engine_library("onnx"))
    assert refused.value.code == "bundle.model"


def test_a_project_builds_and_captions(bundle: Path, tmp_path: Path) -> None:
    project = write_project("c", bundle, tmp_path / "project")
    sources = [str(file) for file in [project / "main.c", *(project / "edgecap").glob("*.c")]]
    program = tmp_path / "captions"
    compile_c("-O1", f"-I{project / 'edgecap'}", *sources, "-o", str(program), "-lm", "-ldl")
    image = pixels()[0]
    (tmp_path / "image.rgb").write_bytes(image.tobytes())
    sides = [str(image.shape[1]), str(image.shape[0])]
    model = project / "model.edgecap"
    command = [program, model, tmp_path / "image.rgb", *sides, engine_library("onnx")]
    run = subprocess.run(command, capture_output=True, text=True)
    (expected,) = load(bundle).caption(image)
    assert (run.returncode, run.stdout) == (0, expected.text + "\n"), run.stderr


def test_every_target_of_the_format_takes_it(bundle: Path, tmp_path: Path) -> None:
    for name, (row, _) in targets().items():
        if "onnx" in row.formats:
            assert write_project(name, bundle, tmp_path / name).is_dir()


@pytest.mark.full
def test_captions_of_tflite(library: Library, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = shared_bundle(tmp_path_factory, "idefics3", "crops", "tflite")
    opened = library.open(made, library=engine_library("tflite"))
    same_captions(opened, made)
    opened.close()


@pytest.mark.full
def test_memory_that_runs_out_at_every_allocation(bundle: Path, faults: Path) -> None:
    run = subprocess.run([faults, bundle, engine_library("onnx")], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    failures, _, _, works, _ = run.stdout.split()
    assert int(failures) > 50 and int(works) >= 4
