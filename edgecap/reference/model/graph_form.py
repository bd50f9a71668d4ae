"""The contract's functions as graphs that engines run fast: other operations, the same numbers.

Letters as in captioner.py; n tokens fed at once. What differs, and why:

- Each layer has a tensor of keys and one of values. A step of all layers' rows in one tensor copies
  every layer's part out of it first.
- Attention is written out. A converter that decomposes `scaled_dot_product_attention` reads shapes
  at run time and scales queries and keys alike.
- A step may multiply with the cache element by element and sum (`by_element`), where an engine
  would copy the cache into the layout of its matrix kernels to multiply it with a single row.
- A single row has no axes to swap.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from edgecap.reference.model.captioner import Block, CaptionModel

# (q, k_new, v_new [B,H,n,K], a layer's k, v [B,H,C,K]) -> attended [B,H,n,K], weights [B,H,n,C+n]
Attend = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class GraphForm:
    """The functions of a model. A state is the keys of every layer, then their values: 2L tensors
    [B,H,C,K].
    """

    def __init__(self, model: CaptionModel, by_element: bool) -> None:
        self._model, self._by_element = model, by_element
        self._scale = 1 / math.sqrt(model.config.head_width)

    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """As `CaptionModel.encode_image`: 2L tensors [B,H,P,K], and the embedding [B,E]."""
        x = self._model.embed_patches(image)  # [B,P,D]
        keys, values = [], []
        for block in self._model.blocks:
            q, k, v = _project(block, x)  # each [B,H,P,K]
            scores = (q * self._scale) @ k.transpose(-1, -2)  # [B,H,P,P]
            x = block.finish(x, scores.softmax(-1) @ v)  # [B,P,D]
            keys.append(k)
            values.append(v)
        return (*keys, *values, self._model.embed_image(x))

    def decode(self, token: Tensor, position: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """As `CaptionModel.decode`: logits [B,V], 2L tensors [B,H,1,K], and attention [B,P]."""
        *found, attention = self.decode_attention(token, position, *state)
        return (*found, attention.mean((1, 2)))

    def decode_attention(
        self, token: Tensor, position: Tensor, *state: Tensor
    ) -> tuple[Tensor, ...]:
        """As `CaptionModel.decode_attention`: as `decode`, with the attention [B,L,H,P]."""
        if not self._by_element:
            logits, *rows, attention = self._steps(token, position, state)
            return (logits[:, 0], *rows, attention[:, :, :, 0])
        bias = self._unused(position)[..., None]  # [B,1,C,1]

        def attend(
            q: Tensor, k_new: Tensor, v_new: Tensor, k: Tensor, v: Tensor
        ) -> tuple[Tensor, Tensor]:
            past = (k * q).sum(-1, keepdim=True) + bias  # [B,H,C,1]
            own = (q * k_new).sum(-1, keepdim=True)  # [B,H,1,1]
            scores = torch.cat([past, own], 2).flatten(2)  # [B,H,C+1]
            weights = scores.softmax(-1).unsqueeze(-1)  # [B,H,C+1,1]
            C = k.shape[2]
            attended = (v * weights[:, :, :C]).sum(2, keepdim=True)  # [B,H,1,K]
            return attended + weights[:, :, C:] * v_new, weights.transpose(-1, -2)

        x = self._model.token(token) + self._model.text_position(position)[:, None]  # [B,1,D]
        logits, *rows, attention = self._layers(x, state, attend)
        return (logits[:, 0], *rows, attention[:, :, :, 0])

    def extend(self, tokens: Tensor, position: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Several steps in one.

        Args:
            tokens: int [B,n], the tokens at text positions position … position + n - 1.
            position: int [B], number of text tokens already in the cache.
            state: rows from P + position on are ignored.

        Returns:
            logits [B,n,V], those of row i after token i; 2L tensors [B,H,n,K], for rows P +
            position … of the caller's cache.
        """
        return self._steps(tokens, position, state)[:-1]

    def _steps(
        self, tokens: Tensor, position: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """As `extend`, and attention [B,L,H,n,P]."""
        model, n = self._model, tokens.shape[1]
        steps = torch.arange(n, device=tokens.device)  # [n]
        places = position[:, None]  # [B,n]
        if n > 1:  # rows past the end are computed and thrown away; they get the last position
            places = (places + steps).clamp(max=model.config.text_length - 1)
        bias = self._unused(position)[:, :, None]  # [B,1,1,C]

        def attend(
            q: Tensor, k_new: Tensor, v_new: Tensor, k: Tensor, v: Tensor
        ) -> tuple[Tensor, Tensor]:
            past = q @ k.transpose(-1, -2) + bias  # [B,H,n,C]
            own = q @ k_new.transpose(-1, -2)  # [B,H,n,n]
            if n > 1:
                own = own + (steps[None] > steps[:, None]).to(q.dtype) * -1e4
            weights = torch.cat([past, own], -1).softmax(-1)  # [B,H,n,C+n]
            C = k.shape[2]
            rest = weights[..., C:]  # [B,H,n,n]
            return weights[..., :C] @ v + (rest @ v_new if n > 1 else rest * v_new), weights

        x = model.token(tokens) + model.text_position(places)  # [B,n,D]
        return self._layers(x, state, attend)

    def _unused(self, position: Tensor) -> Tensor:
        """What is added to the scores of rows that hold nothing yet, [B,1,C]."""
        P, C = self._model.config.patches, self._model.config.context
        unused = torch.arange(C, device=position.device)[None] >= (P + position)[:, None]  # [B,C]
        return unused.to(torch.float32)[:, None] * -1e4  # exp gives 0 in fp16 too

    def _layers(self, x: Tensor, state: tuple[Tensor, ...], attend: Attend) -> tuple[Tensor, ...]:
        """x [B,n,D] through all layers: as `extend`, and attention [B,L,H,n,P]."""
        model, L = self._model, self._model.config.layers
        B, n, _ = x.shape
        keys, values, attentions = [], [], []
        for layer, block in enumerate(model.blocks):
            q, k_new, v_new = _project(block, x)  # each [B,H,n,K]
            attended, weights = attend(
                q * self._scale, k_new, v_new, state[layer], state[L + layer]
            )
            x = block.finish(x, attended)  # [B,n,D]
            keys.append(k_new)
            values.append(v_new)
            attentions.append(weights)
        logits = model.logits(x.flatten(0, 1)).view(B, n, -1)  # [B,n,V]
        # Slice after concatenating: one slice per layer costs more than the concatenation.
        P, H = model.config.patches, model.config.heads
        attention = torch.cat(attentions, 1)[..., :P].view(B, L, H, n, P)
        return (logits, *keys, *values, attention)


def _project(block: Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of x [B,n,D], each [B,H,n,K]."""
    B, n, D = x.shape
    K = D // block.heads
    qkv = block.qkv(block.attention_norm(x))  # [B,n,3D]
    if n == 1:
        rows = qkv.view(B, 3 * block.heads, 1, K)  # [B,3H,1,K]
    else:
        rows = qkv.view(B, n, 3 * block.heads, K).transpose(1, 2)  # [B,3H,n,K]
    q, k, v = rows.split(block.heads, 1)
    return q, k, v
