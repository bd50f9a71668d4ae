"""The contract's functions as graphs that engines run fast: other operations, the same numbers.

Letters as in captioner.py; n tokens fed at once. What differs, and why:

- Attention is written out. A converter that decomposes `scaled_dot_product_attention` reads shapes
  at run time and scales queries and keys alike.
- A step may multiply with the cache element by element and sum (`by_element`), where an engine
  would copy the cache into the layout of its matrix kernels to multiply it with a single row.
- A single row has no axes to swap, and one concatenation along the heads stacks the new rows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgecap.reference.model.captioner import Block, CaptionModel


def encode_image(model: CaptionModel, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `CaptionModel.encode_image`."""
    x = model.embed_patches(image)  # [B,P,D]
    keys, values = [], []
    for block in model.blocks:
        q, k, v = _project(block, x)  # each [B,H,P,K]
        scores = (q * _scale(model)) @ k.transpose(-1, -2)  # [B,H,P,P]
        x = block.finish(x, scores.softmax(-1) @ v)  # [B,P,D]
        keys.append(k)
        values.append(v)
    return torch.stack(keys), torch.stack(values), model.embed_image(x)


def _scale(model: CaptionModel) -> float:
    return 1 / math.sqrt(model.config.head_width)


def extend(
    model: CaptionModel, tokens: Tensor, position: Tensor, k: Tensor, v: Tensor, by_element: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `CaptionModel.decode_attention`, for n tokens at once.

    Args:
        tokens: int [B,n], the tokens at text positions position … position + n - 1.
        position: int [B], number of text tokens already in the cache.
        k, v: float [L,B,H,C,K]; rows from P + position on are ignored.
        by_element: multiply with the cache element by element; n = 1 only.

    Returns:
        logits [B,n,V], those of row i after token i; k_new, v_new [L,B,H,n,K], for rows P +
        position … of the caller's cache; attention [B,L,H,n,P].
    """
    P, C, H = model.config.patches, model.config.context, model.config.heads
    B, n = tokens.shape
    steps = torch.arange(n, device=tokens.device)  # [n]
    places = position[:, None]  # [B,n]
    if n > 1:  # rows past the end are computed and thrown away; they get the last position
        places = (places + steps).clamp(max=model.config.text_length - 1)
    x = model.token(tokens) + model.text_position(places)  # [B,n,D]
    rows = torch.arange(C, device=tokens.device)  # [C]
    unused = rows[None] >= (P + position)[:, None]  # [B,C]
    bias = unused.to(x.dtype)[:, None, None] * -1e4  # [B,1,1,C], exp gives 0 in fp16 too
    later = (steps[None] > steps[:, None]).to(x.dtype) * -1e4  # [n,n]
    new_keys, new_values, attentions = [], [], []
    for layer, block in enumerate(model.blocks):
        q, k_new, v_new = _project(block, x)  # each [B,H,n,K]
        q = q * _scale(model)
        past = _scores(q, k[layer], by_element) + bias  # [B,H,n,C]
        own = q @ k_new.transpose(-1, -2)  # [B,H,n,n]
        own = own + later if n > 1 else own
        weights = torch.cat([past, own], -1).softmax(-1)  # [B,H,n,C+n]
        attended = _mixed(weights[..., :C], v[layer], by_element)  # [B,H,n,K]
        if n > 1:
            attended = attended + weights[..., C:] @ v_new
        else:
            attended = attended + weights[..., C:] * v_new
        x = block.finish(x, attended)  # [B,n,D]
        new_keys.append(k_new)
        new_values.append(v_new)
        attentions.append(weights)
    logits = model.logits(x.flatten(0, 1)).view(B, n, -1)  # [B,n,V]
    # Slice after concatenating: one slice per layer costs more than the concatenation.
    attention = torch.cat(attentions, 1)[..., :P].view(B, -1, H, n, P)  # [B,L,H,n,P]
    return logits, _stacked(new_keys), _stacked(new_values), attention


def decode(
    model: CaptionModel, token: Tensor, position: Tensor, k: Tensor, v: Tensor, by_element: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `CaptionModel.decode_attention`; `by_element` as in `extend`."""
    logits, k_new, v_new, attention = extend(model, token, position, k, v, by_element)
    return logits[:, 0], k_new, v_new, attention[:, :, :, 0]


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


def _scores(q: Tensor, k: Tensor, by_element: bool) -> Tensor:
    """q [B,H,n,K] times k [B,H,C,K], to [B,H,n,C]."""
    return (k * q).sum(-1).unsqueeze(2) if by_element else q @ k.transpose(-1, -2)


def _mixed(weights: Tensor, v: Tensor, by_element: bool) -> Tensor:
    """Rows v [B,H,C,K] in the proportions `weights` [B,H,n,C], to [B,H,n,K]."""
    if not by_element:
        return weights @ v
    return (v * weights.transpose(-1, -2)).sum(2, keepdim=True)


def _stacked(rows: list[Tensor]) -> Tensor:
    """L of [B,H,n,K] as [L,B,H,n,K]."""
    B, H, n, K = rows[0].shape
    return torch.cat(rows, 1).view(B, len(rows), H, n, K).transpose(0, 1)
