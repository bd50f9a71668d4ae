"""BLIP (arXiv 2201.12086): a ViT, and a BERT whose layers look at it through cross-attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.captioner import CaptionerBase
from edgecap.models.generation import generation
from edgecap.models.rows import Pair, alone, crossed, new_rows, recording, step_mask


class Blip(CaptionerBase):
    """BlipForConditionalGeneration."""

    name = "blip"
    written_out = ".attention.self"

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        self.layers, self.kv_heads = text.num_hidden_layers, text.num_attention_heads
        self.head_width = text.hidden_size // text.num_attention_heads
        self.image_size = (vision.image_size, vision.image_size)
        self.image_rows = (vision.image_size // vision.patch_size) ** 2 + 1
        self.vocabulary, self.positions = text.vocab_size, text.max_position_embeddings
        self.generation = generation(
            self.generator().generation_config.to_dict(),
            {"caption": (text.bos_token_id,)},
            end=(text.sep_token_id,),
            pad=text.pad_token_id,
        )
        self.quant = QuantSpec(
            keep={"vision_model.embeddings.patch_embedding": Keep("weights", "sees raw pixels")},
            smoothing=norm_pairs(
                self.model, {"layer_norm1": ("self_attn.qkv",), "layer_norm2": ("mlp.fc1",)}
            ),
            tied=tied(self.model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """What cross-attention makes of the ViT's rows, recorded in a step with unused words."""
        features = self.model.vision_model(pixel_values=pixels).last_hidden_state  # [B,P,D]
        rows = recording(self.layers)
        token = torch.zeros_like(features[:, :1, 0], dtype=torch.int32)  # [B,1]
        self.model.text_decoder.bert(
            input_ids=token,
            attention_mask=alone(features),
            encoder_hidden_states=features,
            past_key_values=rows,
            is_decoder=True,
        )
        return new_rows(rows.cross_attention_cache)

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One forward of the text decoder."""
        rows = crossed(text, image)
        output = self.model.text_decoder(
            input_ids=token,
            attention_mask=step_mask(position, self.text_rows),
            position_ids=position[:, None],
            # Asks for cross-attention; its rows are there already, so nobody looks at this.
            encoder_hidden_states=image[0][0],
            past_key_values=rows,
        )
        return output.logits[:, 0], new_rows(rows.self_attention_cache)

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """transformers drops the last id of a prompt, which its tokenizer makes a separator."""
        ids = torch.tensor([[*prompt, *self.generation.end[:1]]])  # [1,N]
        return self.model.generate(pixel_values=pixels, input_ids=ids, **settings)[:, len(prompt) :]

    def generator(self) -> Any:
        """BLIP's generate calls that of its text decoder."""
        return self.model.text_decoder
