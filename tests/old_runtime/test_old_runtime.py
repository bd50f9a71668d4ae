"""Every int8 .tflite runs on tflite-runtime 2.14.0 (2023), which boards out of support still have.

It needs numpy<2 and Python 3.11 at most, hence an environment of its own: `make check-full` makes
it and names its Python in EDGECAP_OLD_PYTHON; without that, these tests are not collected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_quant import network

from edgecap.cli.app import main
from edgecap.quant.plan import FILE, Layer, read_plan, write_plan
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model import weights
from edgecap.reference.scenes.shipped import load_set

OLD_PYTHON = os.environ["EDGECAP_OLD_PYTHON"]
TINY = CaptionerConfig(width=64, layers=2, heads=2, embedding=32)
WIDER = {"blocks.0.mlp_out": "w8", "blocks.1.qkv": "fp32"}
SCENES = 4


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of bundles: a tiny model in every int8 precision, and the shipped one in two."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("bundles")
    model = network(TINY)
    with torch.no_grad():
        model.token.weight.mul_(12)  # makes the choice of words survive rounding
    weights.save(model, out / "tiny.safetensors", {})

    def export(name: str, *options: str) -> Path:
        files = ["--output", str(out / name), "--format", "tflite", "--no-verify"]
        assert main(["export", *files, *options]) == 0
        return out / name

    tiny = ("--model", str(out / "tiny.safetensors"))
    export("w8", *tiny, "--precision", "w8", "--num-calib", "16")
    static = export("w8a8", *tiny, "--precision", "w8a8", "--num-calib", "16")
    plan = read_plan(static / FILE)
    wider = {name: Layer(kind, {}) for name, kind in WIDER.items()}
    write_plan(replace(plan, layers=plan.layers | wider), out / "mixed.json")
    export("mixed", *tiny, "--precision", "mixed", "--plan", str(out / "mixed.json"))
    for precision in ("w8", "w8a8"):
        export(f"S-{precision}", "--precision", precision, "--num-calib", "16")
    return out


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("images")
    paths = [directory / f"{i}.png" for i in range(SCENES)]
    for path, (pixels, _) in zip(paths, load_set("evaluation", SCENES), strict=True):
        Image.fromarray(pixels).save(path)
    return [str(path) for path in paths]


def edgecap(python: str, *arguments: str) -> str:
    """What the command prints under another Python."""
    done = subprocess.run([python, "-m", "edgecap", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def said(python: str, bundle: Path, images: list[str], language: str) -> list[Any]:
    """Words and boxes of greedy captions."""
    options = ["--bundle", str(bundle), "--lang", language, "--json", "-"]
    rows = json.loads(edgecap(python, "caption", *images, *options))
    return [(row["text"], [mention["boxes"] for mention in row["mentions"]]) for row in rows]


@pytest.mark.parametrize("name", ["w8", "w8a8", "mixed", "S-w8"])
def test_an_old_runtime_says_the_same(bundles: Path, images: list[str], name: str) -> None:
    for language in ("en", "zh"):
        new = said(sys.executable, bundles / name, images, language)
        assert said(OLD_PYTHON, bundles / name, images, language) == new
        assert len({text for text, _ in new}) > 1  # it looked


@pytest.mark.parametrize("name", ["S-w8", "S-w8a8"])
def test_an_old_runtime_verifies_the_shipped_model(bundles: Path, name: str) -> None:
    assert "verified" in edgecap(OLD_PYTHON, "verify", str(bundles / name))


def test_the_old_environment_is_the_old_one() -> None:
    code = "import tflite_runtime, numpy; print(tflite_runtime.__version__, numpy.__version__)"
    found = subprocess.run([OLD_PYTHON, "-c", code], capture_output=True, text=True).stdout
    runtime, numpy = found.split()
    assert runtime == "2.14.0" and numpy.startswith("1.")
