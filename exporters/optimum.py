"""ONNX files in the layout that Optimum's ORT classes open, for code that uses these already.

    python -m edgecap.exporters.optimum DIR -o OUT

An encoder-decoder (ViT-GPT2, TrOCR, Donut) becomes encoder_model.onnx and decoder_model.onnx, which
ORTModelForVision2Seq opens with use_cache=False; CLIP becomes model.onnx, which
ORTModelForZeroShotImageClassification opens. float32, any batch. These are no bundles: images are
normalised by the processor beside them, and every token runs the whole caption again.

Letters: B images, N texts, n tokens of a text, h and w the image's size in px, K image rows.
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.core.atomic import atomic_dir
from edgecap.core.command import run_command
from edgecap.core.errors import GateError, UnsupportedError
from edgecap.core.lazy import require
from edgecap.exporters.quiet import quiet
from edgecap.models.checkpoint import CONFIG, FILES, open_checkpoint

if TYPE_CHECKING:
    from edgecap.models.optimum import OptimumGraph

ALLOWED = 1e-3  # of an output's spread


def export(model: str, output: Path, overwrite: bool = False) -> list[Path]:
    """Write the files, each compared with PyTorch; returns them.

    Raises:
        InputError or UnsupportedError: no checkpoint, or one of another family.
        GateError: a file does not compute what PyTorch computes.
    """
    opened = open_checkpoint(model)
    for module in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime"):
        with quiet():
            require(module, "export")
    from edgecap.models.optimum import FAMILIES, graphs

    if opened.model_type not in FAMILIES:
        raise UnsupportedError(
            "optimum.family",
            f"{opened.model_type} has no layout of Optimum here; known: {', '.join(FAMILIES)}.",
            f"Make a bundle: edgecap export {model} --format onnx",
        )
    with atomic_dir(output, overwrite, CONFIG) as directory:
        with quiet():
            made = graphs(opened)
            for graph in made:
                _write(graph, directory / graph.file)
        for graph in made:
            _compare(graph, directory / graph.file)
        for pattern in FILES:
            for file in opened.directory.glob(pattern):
                if file not in opened.weights and not file.name.endswith(".index.json"):
                    shutil.copyfile(file, directory / file.name)
    return [output / graph.file for graph in made]


def _write(graph: OptimumGraph, file: Path) -> None:
    import torch

    any_size = torch.export.Dim.DYNAMIC
    shapes = tuple(
        {0: any_size, 1: any_size} if value.dim() == 2 else {0: any_size}
        for value in graph.inputs.values()
    )
    with torch.no_grad():
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            str(file),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=shapes,
            external_data=False,
        )


def _compare(graph: OptimumGraph, file: Path) -> None:
    """GateError where onnxruntime gives other outputs than PyTorch."""
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(None, {name: value.numpy() for name, value in graph.inputs.items()})
    with torch.no_grad():
        expected = graph.module(*graph.inputs.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    for name, one, other in zip(graph.outputs, expected, found, strict=True):
        limit = ALLOWED * max(float(one.std()), 1e-9)
        distance = float(np.abs(one.numpy() - other).max())
        if not distance <= limit:  # nan too
            raise GateError(
                "parity.converter",
                f"{file.name} gives another {name} than PyTorch: {distance:.3g} off, "
                f"{limit:.3g} allowed.",
            )


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = ArgumentParser(prog="python -m edgecap.exporters.optimum")
    parser.add_argument("model", metavar="DIR", help="a checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args(arguments)

    def work() -> None:
        for file in export(args.model, args.output, args.overwrite):
            print(file)

    return run_command("optimum", work)


if __name__ == "__main__":
    sys.exit(main())
