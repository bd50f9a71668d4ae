"""What a step minimises.

B images   N captions   T tokens   Q texts   V vocabulary   E embedding
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.core.tokens import PAD_ID
from edgecap.model.captioner import Captioner
from edgecap.train.data import Batch


def caption_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the next token: logits [N,T,V], targets int [N,T], padding ignored."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=PAD_ID)


def contrastive_loss(
    images: Tensor, texts: Tensor, matches: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """Sigmoid loss (SigLIP, arXiv 2303.15343) of embeddings [Q,E] each; matches bool [Q,Q].

    Unlike a softmax it lets several texts match one picture: two scenes may say the same.
    """
    similarity = images.float() @ texts.float().T * scale.exp() + bias  # [Q,Q]
    sign = matches.to(similarity.dtype) * 2 - 1  # [Q,Q]
    return F.softplus(-similarity * sign).sum(1).mean()


class Objective(nn.Module):
    """A captioner with its losses as the forward, so that compilers and DDP see one module."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Caption loss and contrastive loss of a batch, both scalars."""
        model = self.captioner
        captions = batch.tokens.shape[0] // batch.images.shape[0]
        keys, values, seen = model.see(batch.images, batch.corners)  # L of [B,H,P,K], [B,P,D]
        each_keys = [k.repeat_interleave(captions, 0) for k in keys]  # L of [N,H,P,K]
        each_values = [v.repeat_interleave(captions, 0) for v in values]
        read = model.read(batch.tokens[:, :-1], each_keys, each_values)  # [N,T,D]
        told = caption_loss(model.logits(read), batch.tokens[:, 1:])
        matched = contrastive_loss(
            model.embed_image(seen[: len(batch.texts)]),  # [Q,E]
            model.encode_text(batch.texts, batch.lengths),  # [Q,E]
            batch.matches,
            model.contrast_scale,
            model.contrast_bias,
        )
        return told, matched
