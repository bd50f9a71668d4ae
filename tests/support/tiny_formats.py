"""A tiny captioner of each kind that edgecap runs; what it says means nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from tiny_mlpackage import unpack
from tiny_onnx import CONFIG, write_bundle

from edgecap.bundle.io import finalize
from edgecap.bundle.schema1 import FUNCTIONS, identity_names
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.manifest import build_manifest
from edgecap.reference.shipped import write_tokenizer

KINDS = ("onnx", "tflite", "coreml", "torch")
TFLITE = Path(__file__).with_name("tiny_w8.tflite")
TFLITE_CONFIG = CaptionerConfig(width=32, layers=1, heads=2, embedding=8)
TORCH_CONFIG = CaptionerConfig(width=16, layers=1, heads=1, embedding=8)


def write(kind: str, directory: Path) -> Path:
    """Make one of KINDS in a directory and return what `edgecap.runtime.load` takes."""
    path = directory / f"tiny-{kind}"
    if kind == "torch":
        return _weights(path.with_suffix(".safetensors"))
    if kind == "onnx":
        write_bundle(path, verified=False)
        return path
    path.mkdir()
    if kind == "tflite":
        shutil.copy(TFLITE, path / "model.tflite")
        _seal(path, TFLITE_CONFIG, "tflite", "w8", "model.tflite")
    else:
        unpack("portable", path)
        _seal(path, CONFIG, "coreml", "fp32", "portable.mlpackage")
    return path


def _seal(path: Path, config: CaptionerConfig, format_: str, precision: str, file: str) -> None:
    write_tokenizer(path)
    manifest = build_manifest(
        config,
        name=path.name,
        model="tiny",
        format=format_,
        precision=precision,
        functions={name: identity_names(file, name) for name in FUNCTIONS},
        batch=1,
    )
    finalize(path, manifest)


def _weights(path: Path) -> Path:
    import torch

    from edgecap.reference.model import weights
    from edgecap.reference.model.captioner import CaptionModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    weights.save(CaptionModel(TORCH_CONFIG), path, {})
    return path
