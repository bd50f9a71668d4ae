"""The functions of the contract, ready to be traced: names, example inputs, shapes.

Letters: B batch, P image patches, T text tokens, H heads, L layers, C = P + T rows of the cache,
K = Dh head width, S model_input side in px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecap.bundle.manifest import ATTENTION
from edgecap.reference.config import CaptionerConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgecap.reference.model.captioner import CaptionModel


@dataclass(frozen=True)
class Function:
    """One graph to export; `batch_axes` gives the batch axis of every input and output."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]  # examples, B = 1, in the order of the arguments
    outputs: tuple[str, ...]
    batch_axes: dict[str, int]


def functions(model: CaptionModel, attention: bool = False) -> tuple[Function, ...]:
    """encode_image, decode and encode_text of `model`, sharing its parameters.

    With `attention` also decode_attention, which hands out every layer and head.
    """
    import torch
    from torch import nn

    class EncodeImage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.model.encode_image(image)

    class Decode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, token: Tensor, position: Tensor, k: Tensor, v: Tensor
        ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            return self.model.decode(token, position, k, v)

    class DecodeAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self, token: Tensor, position: Tensor, k: Tensor, v: Tensor
        ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            return self.model.decode_attention(token, position, k, v)

    class EncodeText(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
            return self.model.encode_text(tokens, length)

    config: CaptionerConfig = model.config
    size, T = config.image_size, config.text_length
    cache = (config.layers, 1, config.heads, config.context, config.head_width)  # [L,B,H,C,K]
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)  # [B,S,S,3]
    step = {
        "token": torch.ones(1, 1, dtype=torch.int32),  # [B,1]
        "position": torch.ones(1, dtype=torch.int32),  # [B]
        "k": torch.zeros(cache),
        "v": torch.zeros(cache),
    }
    text = {
        "tokens": torch.ones(1, T, dtype=torch.int32),  # [B,T]
        "length": torch.ones(1, dtype=torch.int32),  # [B]
    }
    seen = {"image": 0, "k": 1, "v": 1, "image_embedding": 0}
    stepping = ("logits", "k_new", "v_new", "attention")
    stepped = {"token": 0, "position": 0, "k": 1, "v": 1}
    stepped |= {"logits": 0, "k_new": 1, "v_new": 1, "attention": 0}
    told = {"tokens": 0, "length": 0, "text_embedding": 0}
    made = (
        Function(
            "encode_image",
            EncodeImage().eval(),
            {"image": image},
            ("k", "v", "image_embedding"),
            seen,
        ),
        Function("decode", Decode().eval(), step, stepping, stepped),
        Function("encode_text", EncodeText().eval(), text, ("text_embedding",), told),
    )
    if not attention:
        return made
    return (*made, Function(ATTENTION, DecodeAttention().eval(), step, stepping, stepped))
