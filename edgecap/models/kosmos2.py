"""Kosmos-2 (arXiv 2306.14824): a CLIP ViT behind 64 latent queries, and a causal language model.

The language model counts positions from its padding id and builds masks from padding, so its
layers are called one by one. An image row sees only the rows before it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.clip import SMOOTHING
from edgecap.models.generation import generation
from edgecap.models.prompted import PrefixBase
from edgecap.models.rows import Pair, cache, causal_mask, new_rows, step_mask


class Kosmos2(PrefixBase):
    """Kosmos2ForConditionalGeneration."""

    name = "kosmos-2"
    regions = "cells2"
    default_prompt = "<grounding>An image of"

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        self.image_size = (vision.image_size, vision.image_size)
        self.write(None, num_image_tokens=config.latent_query_num)
        self.begin()
        self.layers, self.kv_heads = text.layers, text.attention_heads
        self.head_width = text.embed_dim // text.attention_heads
        self.vocabulary = text.vocab_size
        self.positions = text.max_position_embeddings - self.image_rows
        self.generation = generation(
            self.generator().generation_config.to_dict(),
            {"caption": (self.first_token,)},
            end=(text.eos_token_id,),
            pad=text.pad_token_id,
            prefix=tuple(self.before),
        )
        attention = tuple(f"self_attn.{x}_proj" for x in "qkv")
        self.quant = QuantSpec(
            keep={"vision_model.*.patch_embedding": Keep("weights", "sees raw pixels")},
            smoothing=norm_pairs(
                self.model,
                {
                    **SMOOTHING,
                    "self_attn_layer_norm": attention,
                    "self_attn.inner_attn_ln": ("self_attn.out_proj",),
                    "final_layer_norm": ("ffn.fc1",),
                    "ffn.ffn_layernorm": ("ffn.fc2",),
                },
            ),
            tied=tied(self.model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The prompt's rows, but for its last token, through the language model."""
        model, text = self.model, self.model.text_model.model
        patches = model.vision_model(pixels).last_hidden_state
        patches = model.vision_model.model.post_layernorm(patches)  # [B,patches,Dv]
        features, _ = model.image_to_text_projection(
            functional.normalize(patches, dim=-1)
        )  # [B,N,D]
        x = self.spliced(text.embed_tokens, features, self.image_rows) * text.embed_scale
        first = text.embed_positions.padding_idx + 1
        x = x + text.embed_positions.weights[first : first + self.image_rows]  # [B,P,D]
        rows = cache(self.layers)
        self._through(x, causal_mask(self.image_rows), rows)
        return new_rows(rows)

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One token behind image and text."""
        model, rows = self.model.text_model.model, cache(self.layers, image, text)
        table = model.embed_positions
        place = functional.embedding(
            position + (self.image_rows + table.padding_idx + 1), table.weights
        )  # [B,D]
        x = model.embed_tokens(token) * model.embed_scale + place[:, None]  # [B,1,D]
        x = self._through(x, step_mask(position, self.text_rows, self.image_rows), rows)
        logits = self.model.text_model.lm_head(model.layer_norm(x))  # [B,1,V]
        return logits[:, 0], new_rows(rows)

    def _through(self, x: Tensor, mask: Tensor, rows: Any) -> Tensor:
        for layer in self.model.text_model.model.layers:
            x = layer(x, mask, past_key_values=rows)
        return x

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt goes on where the fixed one ends."""
        ids = self.whole(prompt)  # [1,n]
        image = torch.zeros_like(ids)
        image[:, self.first : self.first + self.count] = 1
        made = self.model.generate(
            pixel_values=pixels,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            image_embeds_position_mask=image,
            **settings,
        )
        return made[:, ids.shape[1] :]

    def generator(self) -> Any:
        """Kosmos-2's generate calls that of its text model."""
        return self.model.text_model
