"""Projects of `edgecap embed`: complete, stripped, buildable, and saying what Python says."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_edgecap import engine_library
from calibrated import calibrated
from js_edgecap import MODULES, node
from PIL import Image
from tiny_formats import write

from edgecap.bundle.confidence_spec import Calibration, CaptionWeights
from edgecap.bundle.packing import pack
from edgecap.cli.app import main
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.embed.project import write_project
from edgecap.embed.targets import targets
from edgecap.runtime import load

PIXELS = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)


def picture(folder: Path) -> Path:
    Image.fromarray(PIXELS).save(folder / "image.png")
    return folder / "image.png"


@pytest.mark.parametrize("target", targets())
def test_every_target_is_written_whole(
    target: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    row, _ = targets()[target]
    bundle = bundles.get(row.formats[0]) or write(row.formats[0], tmp_path)
    project = write_project(target, bundle, tmp_path / "project")
    files = [p for p in project.rglob("*") if p.is_file() and p.suffix != ".edgecap"]
    texts = {file: file.read_text("utf-8", "replace") for file in files}
    assert (project / "README.md") in texts
    assert [p for p, text in texts.items() if re.search(r"@[A-Z_]+@", text)] == []
    assert [p for p in project.rglob("*.in")] == []
    place = project / row.bundle
    names = zipfile.ZipFile(place).namelist() if place.is_file() else [*map(str, place.rglob("*"))]
    assert any(name.endswith("manifest.json") for name in names)
    assert not [n for n in names if "golden" in n or "README" in n or "parity" in n]
    assert load(place).caption(PIXELS) == load(bundle).caption(PIXELS)


def test_a_packed_bundle_makes_the_same_project(bundles: dict[str, Path], tmp_path: Path) -> None:
    packed = pack(bundles["onnx"], tmp_path / "one.edgecap")
    one = write_project("c", bundles["onnx"], tmp_path / "a")
    other = write_project("c", packed, tmp_path / "b")
    files = [{p.relative_to(d): p.read_bytes() for p in d.rglob("*") if p.is_file()}
             for d in (one, other)]  # fmt: skip
    assert files[0] == files[1]


def test_what_is_refused_writes_nothing(bundles: dict[str, Path], tmp_path: Path) -> None:
    full, new = tmp_path / "full", tmp_path / "new"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"target\.unknown.*c, .*web"):
        write_project("toaster", bundles["onnx"], new)
    with pytest.raises(InputError, match=r"project\.exists"):
        write_project("c", bundles["onnx"], full)
    coreml = tmp_path / "coreml"
    with pytest.raises(UnsupportedError, match=r"project\.format.*tflite"):
        write_project("c", write("coreml", tmp_path), new)
    assert [p.name for p in full.iterdir()] == ["mine.txt"]
    assert not new.exists() and not coreml.exists()


def test_the_command(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "project"
    assert main(["embed", "--target", "python", "-o", str(out), str(bundles["onnx"])]) == 0
    assert "Next, in that directory: " in capsys.readouterr().out
    needs = tomllib.loads((out / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [need.split(">")[0] for need in needs] == ["numpy", "pillow", "onnxruntime"]
    ran = subprocess.run(
        [sys.executable, "-I", "-c", _RUN, str(out), str(picture(tmp_path)), "nothing.png"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(
        f"{picture(tmp_path)}: {load(bundles['onnx']).caption(PIXELS)[0].text}\n"
    )
    assert "image.missing" in ran.stderr


# The project's own edgecap, not the installed one, and nothing heavy with it.
_RUN = """
import runpy, sys
project = sys.argv.pop(1)
sys.path.insert(0, project)
try:
    runpy.run_path(f"{project}/caption.py", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
import edgecap.runtime
assert edgecap.runtime.__file__.startswith(project), edgecap.runtime.__file__
assert not {"torch", "typer", "rich", "edgecap.api"} & sys.modules.keys()
"""


def camera(project: Path) -> Any:
    spec = importlib.util.spec_from_file_location("camera", project / "camera.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_camera_loop_drops_frames_while_it_is_busy(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    newest = camera(write_project("pi", bundles["tflite"], tmp_path / "pi")).Newest
    given, gate = iter(range(1, 8)), threading.Semaphore(1)

    def read() -> int | None:
        gate.acquire()
        return next(given, None)

    frames = newest(read)
    assert frames.take() == 1
    for _ in range(6):  # the model is busy meanwhile
        gate.release()
    while frames.seen < 7:
        pass
    assert frames.take() == 7
    assert frames.dropped == 5
    gate.release()
    assert frames.take() is None


@pytest.mark.full
def test_the_camera_loop_captions_a_video(bundles: dict[str, Path], tmp_path: Path) -> None:
    import cv2

    project = write_project("pi", bundles["tflite"], tmp_path / "pi")
    video = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(video, cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(6):
        writer.write(np.full((48, 64, 3), (250, 10, 10), np.uint8))  # blue, in BGR
    writer.release()
    command = [sys.executable, "camera.py", "--source", video, "--threads", "1"]
    ran = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert lines
    good, frame = cv2.VideoCapture(video).read()
    assert good
    rgb = np.ascontiguousarray(frame[..., ::-1])
    assert lines[0]["text"] == load(bundles["tflite"]).caption(rgb)[0].text
    unit = (project / "captions.service").read_text()
    assert all(part in unit for part in ("[Unit]", "[Service]", "ExecStart=", "[Install]"))


@pytest.mark.full
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_the_c_project_builds_and_captions(
    format_: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    project = write_project("c", bundles[format_], tmp_path / "project")
    for command in (["cmake", "-S", ".", "-B", "build"], ["cmake", "--build", "build"]):
        built = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
    line = next(x for x in (project / "README.md").read_text().splitlines() if "cc -std=c99" in x)
    one = subprocess.run(
        line.split(": ", 1)[1], shell=True, cwd=project, capture_output=True, text=True
    )
    assert one.returncode == 0, one.stderr
    (tmp_path / "image.rgb").write_bytes(PIXELS.tobytes())
    expected = load(bundles[format_]).caption(PIXELS)[0].text
    for program in ("build/captions", "./captions"):
        command = [program, "model.edgecap", str(tmp_path / "image.rgb"), "64", "48"]
        ran = subprocess.run(
            [*command, str(engine_library(format_))], cwd=project, capture_output=True, text=True
        )
        assert (ran.returncode, ran.stdout) == (0, expected + "\n"), ran.stderr


def in_browser(project: Path, folder: Path, width: int = 1280) -> dict[str, Any]:
    """What a page of `--target web` says of an image, and its screenshot in `folder`."""
    (project / "node_modules").symlink_to(MODULES / "node_modules")
    where = (str(MODULES), str(project), str(picture(folder)))
    ran = node("project.mjs", *where, str(width), str(folder / f"{width}.png"))
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    assert [e for e in seen["errors"] if not e.startswith(("INFO: ", "WARNING: "))] == []
    assert seen["isolated"] is True and seen["outside"] == 404
    assert seen["overflow"] <= 0 and seen["busy"] == 0
    return seen


@pytest.mark.full
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_the_web_project_captions_in_a_browser(
    format_: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    seen = in_browser(write_project("web", bundles[format_], tmp_path / "project"), tmp_path)
    assert seen["caption"] == load(bundles[format_]).caption(PIXELS)[0].text
    assert seen["sure"] == ""


@pytest.mark.full
@pytest.mark.parametrize(("width", "bias"), [(1280, 4.0), (390, -1.0)])
def test_the_web_project_says_how_sure_it_is(
    width: int, bias: float, bundles: dict[str, Path], tmp_path: Path
) -> None:
    weights = {"grounded": CaptionWeights(bias, 0.0, 0.0, 0.5)}
    told = Calibration(1, "it is right", "made", None, weights, {})
    bundle = calibrated(Path(shutil.copytree(bundles["onnx"], tmp_path / "bundle")), told)
    seen = in_browser(write_project("web", bundle, tmp_path / "project"), tmp_path, width)
    if bias > 0:
        assert seen["caption"] == load(bundle).caption(PIXELS)[0].text
        assert seen["sure"] == "98 % sure that this is right"
    else:
        assert seen["caption"] == "I am not sure enough to say what this image shows."
        assert seen["sure"].startswith("26 % sure, which is too little")
