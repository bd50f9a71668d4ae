"""GIT (arXiv 2205.14100): a prefix language model over a CLIP ViT's rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs, tied
from edgecap.models.captioner import CaptionerBase
from edgecap.models.generation import generation, ids_of
from edgecap.models.rows import Pair, cache, new_rows, step_mask


class Git(CaptionerBase):
    """GitForCausalLM; image rows see each other and no text."""

    name = "git"
    written_out = ".attention.self"

    def describe(self) -> None:
        """Sizes, prompt and what to keep from rounding."""
        config = self.model.config
        vision, settings = config.vision_config, self.model.generation_config
        if config.num_image_with_embedding is not None:
            raise UnsupportedError(
                "model.video", f"{self.source} takes {config.num_image_with_embedding} frames."
            )
        self.layers, self.kv_heads = config.num_hidden_layers, config.num_attention_heads
        self.head_width = config.hidden_size // config.num_attention_heads
        self.image_size = (vision.image_size, vision.image_size)
        self.image_rows = (vision.image_size // vision.patch_size) ** 2 + 1
        self.vocabulary, self.positions = config.vocab_size, config.max_position_embeddings
        self.generation = generation(
            settings.to_dict(),
            {"caption": ids_of(settings.bos_token_id, config.bos_token_id)},
            end=ids_of(settings.eos_token_id, config.eos_token_id),
            pad=ids_of(settings.pad_token_id, config.pad_token_id, 0)[0],
        )
        self.quant = QuantSpec(
            keep={
                "git.image_encoder.*.patch_embedding": Keep("weights", "sees raw pixels"),
                "git.image_encoder.*.position_embedding": Keep("float", "a small table"),
            },
            smoothing=norm_pairs(
                self.model,
                {
                    "layer_norm1": tuple(f"self_attn.{x}_proj" for x in "qkv"),
                    "layer_norm2": ("mlp.fc1",),
                },
            ),
            tied=tied(self.model),
        )

    def encode_image(self, pixels: Tensor) -> list[Pair]:
        """The prefix of image rows through the text layers."""
        git = self.model.git
        features = git.image_encoder(pixel_values=pixels).last_hidden_state  # [B,P,Dv]
        rows = cache(self.layers)
        git.encoder(git.visual_projection(features), past_key_values=rows)
        return new_rows(rows)

    def step(
        self, token: Tensor, position: Tensor, image: list[Pair], text: list[Pair]
    ) -> tuple[Tensor, list[Pair]]:
        """One token behind image and text; its position counts text alone."""
        git, rows = self.model.git, cache(self.layers, image, text)
        x = git.encoder(
            git.embeddings(input_ids=token, position_ids=position[:, None]),  # [B,1,D]
            attention_mask=step_mask(position, self.text_rows, self.image_rows),
            past_key_values=rows,
        ).last_hidden_state
        return self.model.output(x)[:, 0], new_rows(rows)

    def generate(self, pixels: Tensor, prompt: list[int], **settings: Any) -> Tensor:
        """The prompt is what the caption starts with."""
        ids = torch.tensor([prompt])  # [1,N]
        return self.model.generate(pixel_values=pixels, input_ids=ids, **settings)[:, len(prompt) :]
