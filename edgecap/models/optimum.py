"""Families in the layout that Optimum's ORT classes open: their graphs, and example inputs.

Letters: B images, N texts, n tokens of a text, h and w the image's size in px, K image rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from edgecap.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class OptimumGraph:
    """One file: a module, example inputs by name, and the names of its outputs."""

    file: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


def graphs(opened: Checkpoint) -> list[OptimumGraph]:
    """The files of a checkpoint of one of `FAMILIES`, float32."""
    return FAMILIES[opened.model_type](opened)


def _encoder_decoder(opened: Checkpoint) -> list[OptimumGraph]:
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
        OptimumGraph(
            "encoder_model.onnx", Encoder(), {"pixel_values": pixels}, ("last_hidden_state",)
        ),
        OptimumGraph(
            "decoder_model.onnx",
            Decoder(),
            {"input_ids": tokens, "encoder_hidden_states": hidden},
            ("logits",),
        ),
    ]


def _clip(opened: Checkpoint) -> list[OptimumGraph]:
    model = transformers.CLIPModel.from_pretrained(opened.directory)
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
    return [OptimumGraph("model.onnx", Both(), inputs, outputs)]


def _pixels(config: Any) -> Tensor:
    size = config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    random = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, height, width, generator=random)


def _tokens(vocabulary: int) -> Tensor:
    random = torch.Generator().manual_seed(4)
    return torch.randint(vocabulary, (2, 5), generator=random)


FAMILIES: dict[str, Callable[[Checkpoint], list[OptimumGraph]]] = {
    "vision-encoder-decoder": _encoder_decoder,
    "clip": _clip,
}
