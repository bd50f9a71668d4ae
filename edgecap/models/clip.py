"""CLIP (arXiv 2103.00020): an image tower and a causal text tower, pooled at the end token."""

from __future__ import annotations

import torch
from torch import Tensor

from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs
from edgecap.models.embedder import EmbedderBase
from edgecap.models.rows import causal_mask

# Of CLIP's and SigLIP's towers.
SMOOTHING = {
    "layer_norm1": tuple(f"self_attn.{x}_proj" for x in "qkv"),
    "layer_norm2": ("mlp.fc1",),
}


class Clip(EmbedderBase):
    """CLIPModel."""

    name = "clip"

    def describe(self) -> None:
        """Sizes and what to keep from rounding."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        self.image_size = (vision.image_size, vision.image_size)
        self.vocabulary, self.embedding = text.vocab_size, config.projection_dim
        self.text_length = text.max_position_embeddings
        self.quant = QuantSpec(
            keep={
                "vision_model.embeddings.patch_embedding": Keep("weights", "sees raw pixels"),
                "*.position_embedding": Keep("float", "a small table"),
            },
            smoothing=norm_pairs(self.model, SMOOTHING),
        )

    def image_features(self, pixels: Tensor) -> Tensor:
        """The image tower's pooled row, projected."""
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    def text_features(self, tokens: Tensor, length: Tensor) -> Tensor:
        """The row of the last word, which the tokenizer makes the end token."""
        mask = causal_mask(tokens.shape[1])
        rows = self.model.text_model(input_ids=tokens, attention_mask=mask).last_hidden_state
        place = torch.arange(tokens.shape[1], dtype=length.dtype, device=length.device)  # [N]
        last = (place == length[:, None] - 1).to(rows.dtype)  # [B,N]
        return self.model.text_projection((last[:, None] @ rows)[:, 0])

    def features(self, tokens: Tensor) -> Tensor:
        """As transformers finds the end token itself."""
        return self.model.get_text_features(input_ids=tokens).pooler_output
