"""The wheel edgecap-runtime: small, without what only makes bundles, and captioning on its own."""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from edgecap.embed.runtime_files import PACKAGES, copy_runtime
from edgecap.runtime import load
from edgecap.runtime.__main__ import main

REPO = Path(__file__).resolve().parents[2]
# What the engines and the runtime need, of the packages here; nothing else is in the environment.
LINKED = ("numpy", "numpy.libs", "PIL", "pillow.libs", "ai_edge_litert", "onnxruntime")


def test_its_modules_import_nothing_that_it_lacks(tmp_path: Path) -> None:
    copy_runtime(tmp_path / "edgecap")
    there = {f"edgecap.{name}" for name in PACKAGES} | {"edgecap"}
    allowed_lazily = {"edgecap.api"}  # edgecap/__init__.py takes the runtime where it is missing
    wrong = set()
    for file in (tmp_path / "edgecap").rglob("*.py"):
        for item in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(item, ast.ImportFrom) and (item.module or "").startswith("edgecap"):
                module = str(item.module)
                part = module if module in there else module.rpartition(".")[0]
                if part not in there or module in allowed_lazily and file.name != "__init__.py":
                    wrong.add((str(file.relative_to(tmp_path)), module))
    assert wrong - {("edgecap/__init__.py", "edgecap.api")} == set()
    assert not list((tmp_path / "edgecap").rglob("*.safetensors"))
    assert sum(f.stat().st_size for f in (tmp_path / "edgecap").rglob("*") if f.is_file()) < 1 << 20


def test_the_small_command(
    tiny_bundle_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "red.png")
    bundle, red = str(tiny_bundle_made), str(tmp_path / "red.png")
    (expected,) = load(bundle).caption(red, lang="de")
    assert main([bundle, red, "--lang", "de"]) == 0
    assert capsys.readouterr().out == f"{red}: {expected.text}\n"
    assert main([bundle, red, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == load(bundle).caption(red)[0].text
    for arguments, code, text in (
        ([bundle, "nothing.png", red], 1, "[image.missing]"),
        ([bundle, "nothing.png"], 2, "[image.missing]"),
        (["nothing", red], 2, "[bundle.missing]"),
        ([bundle, red, "--lang", "xx"], 2, "[language.unknown]"),
        ([bundle, red, "--prompt", "x"], 2, "[caption.no_prompts]"),
    ):
        assert main(arguments) == code
        error = capsys.readouterr().err
        assert text in error and error.count("\n") == 1


@pytest.mark.full
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_it_captions_in_an_environment_of_its_own(
    format_: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    build = [sys.executable, str(REPO / "packaging/runtime/build.py"), "-o", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 1_000_000
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"edgecap"}
    parts = {name.split("/")[1] for name in names if name.startswith("edgecap/")}
    assert parts == {p.split(".")[0] for p in PACKAGES} | {"__init__.py", "py.typed"}
    assert {Path(name).suffix for name in names if name.startswith("edgecap/")} == {".py", ".typed"}

    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = str(home / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in LINKED:
        for folder in map(Path, sys.path):
            if (folder / name).exists() and not (site / name).exists():
                (site / name).symlink_to((folder / name).resolve())
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "red.png")
    (expected,) = load(bundles[format_]).caption(tmp_path / "red.png")
    command = [str(home / "bin" / "edgecap-caption"), str(bundles[format_]), "red.png", "--json"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["text"] == expected.text
    code = (
        "import edgecap; print(edgecap.load.__module__); import sys; print('torch' in sys.modules)"
    )
    ran = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.split() == ["edgecap.runtime.loading", "False"], ran.stderr
