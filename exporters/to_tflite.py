"""TFLite: one file with three signatures over one set of weights. Batch 1, a phone's batch.

`fp16` halves the stored weights, `w8` quarters them; runtimes quantise the activations of int8
linear layers row by row as they come, in integer kernels.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.core.lazy import require
from edgecap.exporters import tflite_passes
from edgecap.exporters.contract import functions

if TYPE_CHECKING:
    from edgecap.model.captioner import Captioner

FILE = "model.tflite"


def convert(model: Captioner) -> bytes:
    """The three functions as one float32 .tflite file."""
    litert_torch = require("litert_torch", "export")
    conversion: Any = litert_torch
    for function in functions(model):
        examples = tuple(function.inputs.values())
        conversion = conversion.signature(function.name, function.module, examples)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / FILE
        conversion.convert().export(str(path))
        tree = tflite_passes.read(path.read_bytes())
    names = {f.name: (tuple(f.inputs), f.outputs) for f in functions(model)}
    tflite_passes.finish(tree, names)
    return tflite_passes.write(tree)


def write(data: bytes, precision: str, directory: Path) -> dict[str, str]:
    """Bring a float32 file to `precision` and write it; returns function -> file name."""
    tree = tflite_passes.read(data)
    if precision == "fp16":
        tflite_passes.halve(tree)
    elif precision == "w8":
        tflite_passes.quantise(tree)
    tflite_passes.merge_buffers(tree)
    (directory / FILE).write_bytes(tflite_passes.write(tree))
    return {signature.signatureKey.decode(): FILE for signature in tree.signatureDefs}


def export(model: Captioner, precision: str, directory: Path) -> dict[str, str]:
    """Write `model` as TFLite into `directory`; returns function -> file name."""
    return write(convert(model), precision, directory)
