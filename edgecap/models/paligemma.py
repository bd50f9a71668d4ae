"""PaliGemma (arXiv 2407.07726) and PaliGemma 2 (arXiv 2412.03555): a SigLIP ViT, a Gemma behind it.

Image and prompt see each other both ways, so the rows of the prefix are computed with the prompt's
last token in place, and its own row is dropped: decode makes it again, the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.clip import SMOOTHING
from edgecap.models.prompted import PrefixBase
from edgecap.models.rows import Pair, step_mask

DECODERS = ("gemma", "gemma2")


class PaliGemma(PrefixBase):
    """PaliGemmaForConditionalGeneration."""

    name = "paligemma"
    regions = "loc1024"
    default_prompt = "<image>caption en"
    first_position = 1

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        text, vision, settings = (
            config.text_config,
            config.vision_config,
            self.model.generation_config,
        )
        self.check_part(text.model_type, DECODERS)
        self.image_size = (vision.image_size, vision.image_size)
        self.write(config.image_token_id)
        self.begin()
        self.layers, self.kv_heads = text.num_hidden_layers, text.num_key_value_heads
        self.head_width = text.head_dim
        self.vocabulary = text.vocab_size
        reach = text.max_position_embeddings
        if text.model_type == "gemma2":  # a window that covers everything is none
            reach = min(reach, text.sliding_window)
        self.positions = reach - self.image_rows - 1
        self.generation = self.continued(settings, text)
        self.softcap = getattr(text, "final_logit_softcapping", None)
        # Gemma's norms multiply by 1 + weight, and Gemma 2 has one more on each side.
        self.quant = QuantSpec(
            keep={"*.patch_embedding": Keep("weights", "sees raw pixels")},
            smoothing=norm_pairs(self.model, SMOOTHING),
            tied=tied(self.model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The prompt's rows, but for its last token's, through the language model."""
        model = self.model.model
        features = model.get_image_features(pixel_values=pixels).pooler_output  # [B,N,D]
        language, n = model.language_model, len(self.ids)
        x = self.spliced(language.get_input_embeddings(), features, n)  # [B,P+1,D]
        rows = self.prefix(language, x, self._masks(torch.zeros(1, 1, n, n)))
        return [(key[:, :, :-1], value[:, :, :-1]) for key, value in rows]

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One token behind image and text."""
        mask = self._masks(step_mask(position, self.text_rows, self.image_rows))
        x, rows = self.follow(self.model.model.language_model, token, position, mask, image, text)
        logits = self.model.lm_head(x)[:, 0]  # [B,V]
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits, rows

    def _masks(self, mask: Tensor) -> Any:
        """Gemma 2 wants one mask per kind of layer."""
        if self.model.config.text_config.model_type == "gemma":
            return mask
        return {"full_attention": mask, "sliding_attention": mask}

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt goes on, causally, where the fixed one ends."""
        ids = self.whole(prompt)  # [1,n]
        kinds = torch.ones_like(ids)
        kinds[:, : len(self.ids)] = 0
        made = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            token_type_ids=kinds,
            pixel_values=pixels,
            **settings,
        )
        return made[:, ids.shape[1] :]
