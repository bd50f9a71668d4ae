"""One step of a decoder of BART's kind, whose own forward knows positions only by its cache.

Such decoders (BART, mBART, TrOCR) count the rows of their cache to find a token's place; a graph
is given the place instead, so the few lines around their layers are written out here.

Letters: B batch, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def decode(
    decoder: Any, token: Tensor, position: Tensor, mask: Tensor, features: Tensor, rows: Any
) -> Any:
    """The last hidden state [B,1,D] of `decoder` for token [B,1] at position [B].

    `mask` is that of `rows.step_mask`; `features` [B,P,D] asks for cross-attention.
    """
    x = decoder.embed_tokens(token) + _place(decoder.embed_positions, token, position)  # [B,1,D]
    if decoder.layernorm_embedding is not None:
        x = decoder.layernorm_embedding(x)
    for layer in decoder.layers:
        x = layer(x, mask, encoder_hidden_states=features, past_key_values=rows)
        x = x[0] if isinstance(x, tuple) else x
    last = getattr(decoder, "layer_norm", None)
    return x if last is None else last(x)


def _place(table: Any, token: Tensor, position: Tensor) -> Tensor:
    """The position embedding [B,1,D]; learned tables begin at row 2, sinusoids behind padding."""
    if hasattr(table, "weight"):
        return functional.embedding(position + table.offset, table.weight)[:, None]
    row = (position + table.padding_idx + 1)[:, None]  # [B,1]
    padding = torch.full_like(token, table.padding_idx)
    row = torch.where(token == padding, padding, row)
    return functional.embedding(row, table.weights)
