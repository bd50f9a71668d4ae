"""A decode step with the text rows of the cache as internal state (CoreML state).

Letters as in captioner.py. The image rows are constant inputs and the text rows are the state,
because a CoreML state belongs to one function and `encode_image` could not fill it. Each caption
needs a new state.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgecap.reference.model.captioner import CaptionModel


class StatefulDecode(nn.Module):
    """`CaptionModel.decode` with the text part of the cache as buffers [L,B,H,T,K] that it
    updates.
    """

    k_text: Tensor
    v_text: Tensor

    def __init__(self, model: CaptionModel) -> None:
        super().__init__()
        self.model = model
        config = model.config
        rows = (config.layers, 1, config.heads, config.text_length, config.head_width)
        for name in ("k_text", "v_text"):
            self.register_buffer(name, torch.zeros(rows))  # [L,B,H,T,K]

    def forward(
        self, token: Tensor, position: Tensor, k_image: Tensor, v_image: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One decode step.

        Args:
            token: int [B,1].
            position: int [B], number of text tokens already in this state.
            k_image, v_image: float [L,B,H,P,K] as `encode_image` returned them.

        Returns logits [B,V] and attention [B,P].
        """
        model, P, T = self.model, self.model.config.patches, self.model.config.text_length
        x = model.token(token) + model.text_position(position).unsqueeze(1)  # [B,1,D]
        rows = torch.arange(T, device=token.device)  # [T]
        unused = rows[None] >= position[:, None]  # [B,T]
        bias = unused.to(x.dtype)[:, None, None] * -1e4  # [B,1,1,T]
        scale = 1 / math.sqrt(model.config.head_width)
        new_keys, new_values, attentions = [], [], []
        for layer, block in enumerate(model.blocks):
            q, k, v = block.project(x)  # each [B,H,1,K]
            image_scores = q @ k_image[layer].transpose(-1, -2) * scale  # [B,H,1,P]
            text_scores = q @ self.k_text[layer].transpose(-1, -2) * scale + bias  # [B,H,1,T]
            self_score = (q * k).sum(-1, keepdim=True) * scale  # [B,H,1,1]
            weights = torch.cat([image_scores, text_scores, self_score], -1).softmax(
                -1
            )  # [B,H,1,P+T+1]
            attended = (
                weights[..., :P] @ v_image[layer]
                + weights[..., P : P + T] @ self.v_text[layer]
                + weights[..., P + T :] * v
            )  # [B,H,1,K]
            x = block.finish(x, attended)  # [B,1,D]
            new_keys.append(k)
            new_values.append(v)
            attentions.append(weights[:, :, 0, :P].mean(1))  # [B,P]
        is_position = (rows[None] == position[:, None])[None, :, None, :, None]  # [1,B,1,T,1]
        self.k_text.copy_(torch.where(is_position, torch.stack(new_keys), self.k_text))
        self.v_text.copy_(torch.where(is_position, torch.stack(new_values), self.v_text))
        logits = model.logits(x[:, 0])  # [B,V]
        return logits, torch.stack(attentions).mean(0)
