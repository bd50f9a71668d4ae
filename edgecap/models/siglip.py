"""SigLIP (arXiv 2303.15343) and SigLIP 2 of fixed size: two towers; texts are always of one length.

The text tower pools its last row and was trained on padding without a mask, so N is not free and
the graph writes the padding itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Keep, QuantSpec
from edgecap.models.base import norm_pairs
from edgecap.models.clip import SMOOTHING
from edgecap.models.embedder import EmbedderBase


class Siglip(EmbedderBase):
    """SiglipModel."""

    name = "siglip"

    def describe(self) -> None:
        """Sizes and what to keep from rounding."""
        config = self.model.config
        text, vision = config.text_config, config.vision_config
        self.image_size = (vision.image_size, vision.image_size)
        self.vocabulary, self.embedding = text.vocab_size, text.projection_size
        self.text_length, self.pad = text.max_position_embeddings, text.pad_token_id
        self.quant = QuantSpec(
            keep={
                "vision_model.embeddings.patch_embedding": Keep("weights", "sees raw pixels"),
                "*.position_embedding": Keep("float", "a small table"),
            },
            smoothing=norm_pairs(self.model, SMOOTHING),
        )

    def fits(self, length: int) -> int:
        """Only the length that the model was trained on."""
        if length != self.text_length:
            raise UnsupportedError(
                "model.text_rows",
                f"{self.source} reads texts padded to {self.text_length} tokens, not {length}.",
            )
        return length

    def image_features(self, pixels: Tensor) -> Tensor:
        """The image tower's pooled row."""
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    def text_features(self, tokens: Tensor, length: Tensor) -> Tensor:
        """The text tower's last row, behind padding."""
        place = torch.arange(tokens.shape[1], dtype=length.dtype, device=length.device)  # [N]
        padded = torch.where(place < length[:, None], tokens, torch.full_like(tokens, self.pad))
        return self.model.get_text_features(input_ids=padded).pooler_output

    def features(self, tokens: Tensor) -> Tensor:
        """As its processor pads."""
        padding = (0, self.text_length - tokens.shape[1])
        padded = functional.pad(tokens, padding, value=self.pad)  # [1,N]
        return self.model.get_text_features(input_ids=padded).pooler_output
