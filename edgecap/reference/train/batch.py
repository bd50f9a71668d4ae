"""The data of one step, from drawn scenes or from a user's images.

B images per batch   S window side, px   P patches   T tokens of packed captions
Q images with texts   R = 2Q texts   Tq tokens of a text   C claims   Tc tokens of a claim
K things per scene at most   F facts per patch
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgecap.reference.tokens import PAD_ID


@dataclass(frozen=True)
class Batch:
    """One step's data."""

    images: Tensor  # uint8 [B,S,S,3]
    corners: Tensor  # int64 [B,2], row and column of the window's first patch
    tokens: Tensor  # int64 [B,T], captions one after another, padded with PAD_ID
    targets: Tensor  # int64 [B,T], the next token; PAD_ID where it is not trained
    segments: Tensor  # int64 [B,T], which of the row's captions a token belongs to
    positions: Tensor  # int64 [B,T], its position in that caption
    texts: Tensor  # int64 [R,Tq], two per (B/Q)-th image: a true one, then its hard negative
    lengths: Tensor  # int64 [R]
    matches: Tensor  # bool [Q,R], which texts are true of which images
    claims: Tensor  # int64 [2C,Tc], per such image C/Q pairs of a true and a false claim
    claim_lengths: Tensor  # int64 [2C]
    text_questions: Tensor  # int64 [Q,4], question that separates a text from its negative
    questions: Tensor  # int64 [C,4], question of each claim: see hints.py
    thing_positions: Tensor  # float32 [Q,K,4], things and positions in these images: see hints.py
    hints: Tensor  # int64 [B,P,F], what covers each patch: see hints.py

    def to(self, device: torch.device) -> Batch:
        tensors = (getattr(self, name) for name in self.__dataclass_fields__)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def parts(self, count: int) -> list[Batch]:
        """The batch split into `count` smaller ones; contrastive negatives stay within a part."""
        rows, columns = (size // count for size in self.matches.shape)
        blocks = [
            self.matches[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns]
            for i in range(count)
        ]
        fields = [
            blocks if name == "matches" else getattr(self, name).chunk(count)
            for name in self.__dataclass_fields__
        ]
        return [Batch(*part) for part in zip(*fields, strict=True)]

    def pin_memory(self) -> Batch:
        """A copy in pinned memory; called by DataLoader."""
        return Batch(*(getattr(self, name).pin_memory() for name in self.__dataclass_fields__))

    @property
    def patches(self) -> int:
        """Patches with a hint."""
        return self.hints.shape[0] * self.hints.shape[1]

    @property
    def words(self) -> int:
        """Tokens to predict."""
        return int((self.targets != PAD_ID).sum())
