"""What a step minimises.

B images   T tokens   Q images with texts   R texts   V vocabulary   E embedding
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.core.tokens import PAD_ID
from edgecap.model.captioner import Captioner
from edgecap.train.data import Batch
from edgecap.train.hints import PatchHints


def caption_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy of the next token: logits [B,T,V], targets int [B,T], no padding."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PAD_ID, reduction="sum"
    )


def contrastive_loss(
    images: Tensor, texts: Tensor, matches: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """Summed sigmoid loss (SigLIP, arXiv 2303.15343): [Q,E], [R,E], matches bool [Q,R].

    Unlike a softmax it lets several texts match one picture: two scenes may say the same.
    """
    similarity = images.float() @ texts.float().T * scale.exp() + bias  # [Q,R]
    sign = matches.to(similarity.dtype) * 2 - 1  # [Q,R]
    return F.softplus(-similarity * sign).sum()


def described(model: Captioner, batch: Batch) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Summed caption loss, summed contrastive loss, and the patches after each layer [B,P,D]."""
    keys, values, states = model.see(batch.images, batch.corners)  # L of [B,H,P,K], [B,P,D]
    read = model.read(batch.tokens, keys, values, batch.segments, batch.positions)  # [B,T,D]
    told = states[-1][:: len(batch.images) // len(batch.matches)]  # [Q,P,D]
    matched = contrastive_loss(
        model.embed_image(told),  # [Q,E]
        model.encode_text(batch.texts, batch.lengths),  # [R,E]
        batch.matches,
        model.contrast_scale,
        model.contrast_bias,
    )
    return caption_loss(model.logits(read), batch.targets), matched, states


class Objective(nn.Module):
    """A captioner with its losses as the forward, so that compilers and DDP see one module."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner
        self.hints = PatchHints(captioner.config.width)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Summed caption loss, summed contrastive loss and summed hint loss, all scalars."""
        told, matched, states = described(self.captioner, batch)
        # Early enough that the layers after it can hand what was found on to the words.
        hinted = self.hints(states[5 * len(states) // 8 - 1], batch.hints)
        return told, matched, hinted
