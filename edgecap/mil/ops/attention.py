"""Softmax and attention, computed in float32 throughout and rounded once."""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()


@OPS()
def softmax(x: np.ndarray, axis: np.ndarray | int = -1) -> np.ndarray:
    axis = int(axis)
    powers = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))  # an empty axis has no maximum
    powers /= powers.sum(axis, keepdims=True)
    return powers


@OPS()
def scaled_dot_product_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, attn_mask: np.ndarray | None = None
) -> np.ndarray:
    """query [...,T,K], key [...,S,K], value [...,S,V] to [...,T,V].

    The mask broadcasts to [...,T,S]: a bool says which to look at, a float is added to the scores.
    """
    scale = np.float32(1 / math.sqrt(max(1, query.shape[-1])))
    scores = (query * scale) @ key.swapaxes(-1, -2)  # [...,T,S]
    if attn_mask is not None and attn_mask.dtype == bool:
        scores = np.where(attn_mask, scores, -np.inf)
    elif attn_mask is not None:
        scores += attn_mask
    return softmax(scores) @ value
