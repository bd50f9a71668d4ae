"""The rival of a prefix-LM: an encoder for images, and a decoder that attends to it across.

B batch   P patches   T text tokens   C rows of the KV cache (P + T)   L decoder layers
D width   H heads     K head width    V vocabulary

As in "Attention is all you need" (arXiv 1706.03762), with this project's block: pre-LN, no biases.
It keeps the contract: rows 0 … P-1 of a cache hold the keys and values of the image for the
cross-attention, made once, and the rest those of the text, so whatever runs or trains the prefix-LM
runs and trains this one too.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import Block, CaptionModel, initialise, text_mask


class DecoderBlock(Block):
    """A block with cross-attention to the image between its attention to the text and its MLP."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        D = config.width
        self.cross_norm = nn.LayerNorm(D)
        self.cross_query = nn.Linear(D, D, bias=False)
        self.cross_kv = nn.Linear(D, 2 * D, bias=False)
        self.cross_attention_out = nn.Linear(D, D, bias=False)

    def project_image(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's states [B,P,D], each [B,H,P,K]."""
        B, P, D = image.shape
        kv = self.cross_kv(image).view(B, P, 2, self.heads, D // self.heads)
        k, v = kv.permute(2, 0, 3, 1, 4)
        return k, v

    def cross(self, x: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """What `x` [B,T,D] gets from the image's k, v [B,H,P,K], and its weights [B,H,T,P]."""
        B, T, D = x.shape
        q = self.cross_query(self.cross_norm(x)).view(B, T, self.heads, -1).transpose(1, 2)
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)  # [B,H,T,P]
        merged = (weights @ v).transpose(1, 2).flatten(2)  # [B,T,D]
        return self.cross_attention_out(merged), weights

    def attend(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to in the text ([B,H,T,K]) to `x` [B,T,D]."""
        return x + self.attention_out(attended.transpose(1, 2).flatten(2))

    def think(self, x: Tensor) -> Tensor:
        """Add the MLP to `x` [B,T,D]."""
        return x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x)), approximate="tanh"))


class EncoderDecoder(CaptionModel):
    """A captioner of two stacks; `blocks` are the encoder."""

    def __init__(self, config: CaptionerConfig, encoder_layers: int, decoder_layers: int) -> None:
        super().__init__(replace(config, layers=encoder_layers))
        self.image_norm = nn.LayerNorm(config.width)
        self.decoder_blocks = nn.ModuleList(DecoderBlock(config) for _ in range(decoder_layers))
        initialise(self.decoder_blocks, 3 * decoder_layers)
        self.config = replace(config, layers=decoder_layers)  # those with rows in the cache

    def forward_image(
        self, image: Tensor, corner: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """As of CaptionModel; keys and values are the cross-attention's, L of [B,H,p,K]."""
        _, _, states = super().forward_image(image, corner)
        patches = self.image_norm(states[-1])  # [B,p,D]
        pairs = [block.project_image(patches) for block in self.decoder_blocks]
        return [k for k, _ in pairs], [v for _, v in pairs], states

    def forward_text(
        self,
        tokens: Tensor,
        keys: list[Tensor] | None = None,
        values: list[Tensor] | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """As of CaptionModel: [B,T,D]. Without an image, as for `encode_text`, nothing is
        crossed.
        """
        x = self.embed_words(tokens, positions)  # [B,T,D]
        mask = text_mask(tokens, segments)  # [T,T] or [B,1,T,T]
        for layer, block in enumerate(self.decoder_blocks):
            q, k, v = block.project(x)  # each [B,H,T,K]
            x = block.attend(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
            if keys is not None and values is not None:
                x = x + block.cross(x, keys[layer], values[layer])[0]  # [B,T,D]
            x = block.think(x)
        return x

    def decode(
        self, token: Tensor, position: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As of CaptionModel; `attention` is the cross-attention's."""
        P, T = self.config.patches, self.config.text_length
        x = self.token(token) + self.text_position(position).unsqueeze(1)  # [B,1,D]
        rows = torch.arange(T, device=token.device)  # [T]
        unseen = rows[None] >= position[:, None]  # [B,T]
        bias = unseen.to(x.dtype)[:, None, None] * -1e4  # [B,1,1,T]
        scale = 1 / math.sqrt(self.config.head_width)
        new_keys, new_values, attentions = [], [], []
        for layer, block in enumerate(self.decoder_blocks):
            q, k_new, v_new = block.project(x)  # each [B,H,1,K]
            past = q @ k[layer][:, :, P:].transpose(-1, -2) * scale + bias  # [B,H,1,T]
            self_score = (q * k_new).sum(-1, keepdim=True) * scale  # [B,H,1,1]
            weights = torch.cat([past, self_score], -1).softmax(-1)  # [B,H,1,T+1]
            attended = weights[..., :T] @ v[layer][:, :, P:] + weights[..., T:] * v_new
            x = block.attend(x, attended)  # [B,1,D]
            context, weights = block.cross(x, k[layer][:, :, :P], v[layer][:, :, :P])
            x = block.think(x + context)  # [B,1,D]
            new_keys.append(k_new)
            new_values.append(v_new)
            attentions.append(weights[:, :, 0].mean(1))  # [B,P]
        attention = torch.stack(attentions).mean(0)  # [B,P]
        return self.logits(x[:, 0]), torch.stack(new_keys), torch.stack(new_values), attention
