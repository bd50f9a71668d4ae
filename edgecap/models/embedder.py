"""Models that only embed, images and texts into one space, in the terms of contract 2.

A family defines `image_features` and `text_features`; both are scaled to length 1
here, so that a dot product is the cosine.

Letters: B batch, N tokens of a text, E embedding, h and w the image's height and width in px.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from edgecap.bundle.interface import ENCODE, ENCODE_TEXT, embedder
from edgecap.core.errors import UnsupportedError
from edgecap.models.adapter import Limits
from edgecap.models.base import Base, Build, Normalize, from_weights
from edgecap.models.checkpoint import Checkpoint
from edgecap.runtime.image_processing import ModelInput


class EmbedderBase(Base):
    """An adapter of an embedder: a family gives `describe`, `image_features`, `text_features`."""

    # Set by `describe`, besides `image_size`.
    vocabulary: int  # V
    embedding: int  # E
    text_length: int  # N
    generation = None

    def __init__(
        self, checkpoint: Checkpoint, text_rows: int | None = None, build: Build = from_weights
    ) -> None:
        super().__init__(checkpoint, build)
        if text_rows is not None and not 1 <= text_rows <= self.text_length:
            raise UnsupportedError(
                "model.text_rows",
                f"texts of {text_rows} tokens are not possible: "
                f"{self.source} reads up to {self.text_length}.",
            )
        self.text_length = self.fits(self.text_length if text_rows is None else text_rows)
        height, width = self.image_size
        dims = {"h": height, "w": width, "N": self.text_length}
        self.interface = embedder({**dims, "V": self.vocabulary, "E": self.embedding})

    def fits(self, length: int) -> int:
        """The N to export where `length` is given."""
        return length

    def similarity(self) -> tuple[float, float]:
        """Scale and bias that make a cosine the logit of a pair: cosine * scale + bias."""
        return math.exp(self.stored("logit_scale") or 0.0), self.stored("logit_bias") or 0.0

    def stored(self, name: str) -> float | None:
        """A number of the checkpoint, from its file: the model may be without weights."""
        for file in self.checkpoint.weights:
            with safe_open(file, "pt") as opened:
                if name in set(opened.keys()):
                    return opened.get_tensor(name).item()
        return None

    def image_features(self, pixels: Tensor) -> Tensor:
        """Image features [B,E] of pixels [B,3,h,w]."""
        raise NotImplementedError

    def text_features(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Text features [B,E] of tokens [B,N], of which `length` [B] are words."""
        raise NotImplementedError

    def features(self, tokens: Tensor) -> Tensor:
        """transformers' own text features [1,E] of whole texts [1,n], special tokens included."""
        raise NotImplementedError

    def _modules(self) -> dict[str, nn.Module]:
        return {ENCODE: EmbedImage(self), ENCODE_TEXT: EmbedText(self)}

    def reference(
        self, images: Sequence[ModelInput], prompt: tuple[int, ...], limits: Limits
    ) -> list[list[int]]:
        """An embedder generates nothing."""
        raise UnsupportedError("model.no_captions", f"{self.source} embeds and does not caption.")

    def reference_images(self, images: np.ndarray) -> np.ndarray:
        """transformers' own embeddings, f32 [n,E] of length 1, of uint8 images [n,h,w,3]."""
        with torch.no_grad():
            return unit(self.image_features(self.pixels(images))).numpy()

    def reference_texts(self, texts: list[list[int]]) -> np.ndarray:
        """transformers' own embeddings, f32 [n,E] of length 1, of texts as ids."""
        with torch.no_grad():
            return np.concatenate([unit(self.features(torch.tensor([t]))).numpy() for t in texts])


def unit(features: Tensor) -> Tensor:
    """Features [B,E] scaled to length 1."""
    return features / torch.linalg.vector_norm(features, dim=-1, keepdim=True)


class EmbedImage(nn.Module):
    """image uint8 [B,h,w,3] to image_embedding [B,E]."""

    def __init__(self, adapter: EmbedderBase) -> None:
        super().__init__()
        self.model = adapter.model
        self.normalize = Normalize(adapter.scaling)
        self.adapter = adapter

    def forward(self, image: Tensor) -> Tensor:
        """The embedding, of length 1."""
        with self.adapter.attention.own():
            return unit(self.adapter.image_features(self.normalize(image)))


class EmbedText(nn.Module):
    """tokens [B,N], length [B] to text_embedding [B,E]."""

    def __init__(self, adapter: EmbedderBase) -> None:
        super().__init__()
        self.model = adapter.model
        self.adapter = adapter

    def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
        """The embedding, of length 1."""
        with self.adapter.attention.own():
            return unit(self.adapter.text_features(tokens, length))
