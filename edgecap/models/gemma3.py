"""Gemma 3 (arXiv 2503.19786): a SigLIP ViT, pooled to few rows, and a Gemma behind it.

Tokens look back, rows of the image also at each other. The image is one square: cutting out more
of a long one (pan and scan) is off in its image processor.

Letters: B batch, N rows of image features, n tokens of the prompt, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.paligemma import SMOOTHING
from edgecap.models.prompted import PrefixBase
from edgecap.models.rows import Pair, causal_mask, step_mask


class Gemma3(PrefixBase):
    """Gemma3ForConditionalGeneration."""

    name = "gemma3"
    default_prompt = "Describe this image."

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision, settings = (
            config.text_config,
            config.vision_config,
            self.model.generation_config,
        )
        self.image_size = (vision.image_size, vision.image_size)
        self.write(config.image_token_id, self.chat()[1], add_special_tokens=False)
        self.begin()
        self.layers, self.kv_heads = text.num_hidden_layers, text.num_key_value_heads
        self.head_width, self.vocabulary = text.head_dim, text.vocab_size
        # A window that covers everything is none.
        self.positions = min(text.max_position_embeddings, text.sliding_window) - self.image_rows
        self.generation = self.continued(settings, text)
        self.quant = QuantSpec(
            keep={"*.patch_embedding": Keep("weights", "sees raw pixels")},
            smoothing=norm_pairs(self.model, SMOOTHING),
            tied=tied(self.model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The prompt's rows, but for its last token, through the language model."""
        model = self.model.model
        features = model.get_image_features(pixel_values=pixels).pooler_output  # [B,N,D]
        language, image = model.language_model, slice(self.first, self.first + self.count)
        x = self.spliced(language.get_input_embeddings(), features, self.image_rows)
        mask = causal_mask(self.image_rows)
        mask[:, :, image, image] = 0
        return self.prefix(language, x, _masks(mask))

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One token behind image and text."""
        masks = _masks(step_mask(position, self.text_rows, self.image_rows))
        x, rows = self.follow(self.model.model.language_model, token, position, masks, image, text)
        return self.model.lm_head(x)[:, 0], rows

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt goes on where the fixed one ends."""
        ids = self.whole(prompt)  # [1,n]
        made = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            token_type_ids=(ids == self.model.config.image_token_id).long(),
            pixel_values=pixels,
            **settings,
        )
        return made[:, ids.shape[1] :]


def _masks(mask: Tensor) -> dict[str, Tensor]:
    """One mask per kind of layer."""
    return {"full_attention": mask, "sliding_attention": mask}
