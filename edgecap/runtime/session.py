"""The graph contract of schema 1 in NumPy: the interface of every backend.

Letters: B batch, P image patches, T text tokens, D width, H heads, L layers, V vocabulary,
E shared embedding, S side of the model input in px; Tmax = P + T rows of the cache, Dh = D / H.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class ImageCode(NamedTuple):
    """What encode_image returns: k, v [L,B,H,P,Dh] in the cache's dtype, embedding f32 [B,E]."""

    k: np.ndarray
    v: np.ndarray
    embedding: np.ndarray


class Step(NamedTuple):
    """What decode returns: logits f32 [B,V]; k, v [L,B,H,1,Dh]; attention f32 [B,P]."""

    logits: np.ndarray
    k: np.ndarray
    v: np.ndarray
    attention: np.ndarray


class Session(Protocol):
    """A runnable model. Implementations are thread-safe.

    `batch` is None if a call takes any B, and 1 if it takes one image or text at a time.
    """

    @property
    def batch(self) -> int | None: ...

    def encode_image(self, image: np.ndarray) -> ImageCode:
        """uint8 [B,S,S,3] to keys, values and the L2-normalised embedding."""

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        """One token each: int32 [B,1], its text position int32 [B], the cache [L,B,H,Tmax,Dh].

        Rows P + position and beyond are masked in the graph and must be finite. The caller writes
        the new rows into row P + position of its own cache.
        """

    def decode_attention(
        self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        """`decode` with the attention of every layer and head: f32 [B,L,H,P].

        Raises UnsupportedError if the model was exported without it.
        """

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        """int32 [B,T] (padded) and int32 [B] to the L2-normalised embedding f32 [B,E]."""
