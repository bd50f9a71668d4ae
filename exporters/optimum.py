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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.core.atomic import atomic_dir
from edgecap.core.command import run_command
from edgecap.core.errors import GateError, UnsupportedError
from edgecap.core.lazy import require
from edgecap.exporters.quiet import quiet
from edgecap.models.checkpoint import CONFIG, FILES, Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

ALLOWED = 1e-3  # of an output's spread
FAMILIES = ("vision-encoder-decoder", "clip")


@dataclass(frozen=True)
class _Graph:
    """One file: a module, example inputs by name, and the names of its outputs."""

    file: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


def export(model: str, output: Path, overwrite: bool = False) -> list[Path]:
    """Write the files, each compared with PyTorch; returns them.

    Raises:
        InputError or UnsupportedError: no checkpoint, or one of another family.
        GateError: a file does not compute what PyTorch computes.
    """
    opened = open_checkpoint(model)
    if opened.model_type not in FAMILIES:
        raise UnsupportedError(
            "optimum.family",
            f"{opened.model_type} has no layout of Optimum here; known: {', '.join(FAMILIES)}.",
            f"Make a bundle: edgecap export {model} --format onnx",
        )
    for module in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime"):
        with quiet():
            require(module, "export")
    with atomic_dir(output, overwrite, CONFIG) as directory:
        with quiet():
            graphs = _graphs(opened)
            for graph in graphs:
                _write(graph, directory / graph.file)
        for graph in graphs:
            _compare(graph, directory / graph.file)
        for pattern in FILES:
            for file in opened.directory.glob(pattern):
                if file not in opened.weights and not file.name.endswith(".index.json"):
                    shutil.copyfile(file, directory / file.name)
    return [output / graph.file for graph in graphs]


def _graphs(opened: Checkpoint) -> list[_Graph]:
    import torch
    import transformers

    if opened.model_type == "clip":
        return [_clip(transformers.CLIPModel.from_pretrained(opened.directory))]
    loaded = transformers.VisionEncoderDecoderModel.from_pretrained(opened.directory)
    model = loaded.eval()
    pixels = _pixels(model.config.encoder)  # [B,3,h,w]
    with torch.no_grad():
        hidden = model.encoder(pixels).last_hidden_state  # [B,K,D]
    tokens = _tokens(model.config.decoder.vocab_size)  # [N,n]

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Tensor) -> Tensor:
            return self.model.encoder(pixel_values).last_hidden_state

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, encoder_hidden_states: Tensor) -> Tensor:
            encoded = transformers.modeling_outputs.BaseModelOutput(
                last_hidden_state=encoder_hidden_states
            )
            answer = self.model(
                decoder_input_ids=input_ids, encoder_outputs=encoded, use_cache=False
            )
            return answer.logits  # [B,n,V]

    return [
        _Graph("encoder_model.onnx", Encoder(), {"pixel_values": pixels}, ("last_hidden_state",)),
        _Graph(
            "decoder_model.onnx",
            Decoder(),
            {"input_ids": tokens, "encoder_hidden_states": hidden},
            ("logits",),
        ),
    ]


def _clip(model: Any) -> _Graph:
    import torch

    outputs = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")
    tokens = _tokens(model.config.text_config.vocab_size)  # [N,n]

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.eval()

        def forward(
            self, input_ids: Tensor, pixel_values: Tensor, attention_mask: Tensor
        ) -> tuple[Tensor, ...]:
            answer = self.model(input_ids, pixel_values, attention_mask)
            return tuple(getattr(answer, name) for name in outputs)

    inputs = {
        "input_ids": tokens,
        "pixel_values": _pixels(model.config.vision_config),
        "attention_mask": torch.ones_like(tokens),
    }
    return _Graph("model.onnx", Both(), inputs, outputs)


def _pixels(config: Any) -> Tensor:
    import torch

    size = config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    random = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, height, width, generator=random)


def _tokens(vocabulary: int) -> Tensor:
    import torch

    random = torch.Generator().manual_seed(4)
    return torch.randint(vocabulary, (2, 5), generator=random)


def _write(graph: _Graph, file: Path) -> None:
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


def _compare(graph: _Graph, file: Path) -> None:
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
