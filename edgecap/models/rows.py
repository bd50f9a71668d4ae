"""A transformers cache that serves given rows and remembers new ones; and attention over both.

A family's own layers run unchanged behind `Rows`: what a graph gets as inputs are the rows of
earlier steps, what it hands out are the rows that a layer just made. Nothing is appended.

Rows come in parts (image rows, text rows, the new ones). Copying them into one tensor costs more
than the attention itself (BLIP-base: 46 ms a step instead of 32), so `Rows.update` returns tuples
of parts, which transformers' layers pass on untouched to the registered attention function
`attend`: it scores each part where it lies and joins them in one softmax. Models that write their
attention out (BLIP's and GIT's text) get `replace_attention`.

Letters: B batch, N new rows, R rows of one part, S rows of all parts, T text rows,
H attention heads, G key/value heads, Dh head width, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, EncoderDecoderCache
from transformers.masking_utils import (
    AttentionMaskInterface,
    bidirectional_mask_function,
    sdpa_mask,
)

NAME = "edgecap"  # of the attention function among transformers' own
UNSEEN = -1e4  # exp gives 0 even in float16, and no sum of two leaves its range

Pair = tuple[Tensor, Tensor]  # keys, values [B,G,R,Dh]


class Rows(CacheLayerMixin):
    """The rows of one layer: parts given, new ones remembered in `keys` and `values`."""

    is_sliding = False

    def __init__(self, *parts: Pair, joined: bool = False) -> None:
        super().__init__()
        self.parts = parts
        self.joined = joined  # one tensor instead of parts, for layers that write attention out
        if parts:  # cross-attention reads these instead of calling `update`
            self.keys, self.values = parts[0]
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is kept, so nothing is allocated."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Remember the new rows [B,G,N,Dh]; returns all keys and all values, in parts."""
        self.keys, self.values = key_states, value_states
        if not self.parts:
            return key_states, value_states
        keys, values = zip(*self.parts, (key_states, value_states), strict=True)
        return (torch.cat(keys, 2), torch.cat(values, 2)) if self.joined else (keys, values)

    def get_seq_length(self) -> int:
        """How many rows were given."""
        return sum(keys.shape[2] for keys, _ in self.parts)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Rows a mask must cover, and where they begin."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """No bound."""
        return -1

    @property
    def new(self) -> Pair:
        """Keys and values of the last forward."""
        assert self.keys is not None and self.values is not None
        return self.keys, self.values


def cache(layers: int, *parts: Sequence[Pair], joined: bool = False) -> Cache:
    """A cache of `layers` layers; each part has one pair of rows per layer."""
    return Cache([Rows(*(part[i] for part in parts), joined=joined) for i in range(layers)])


def recording(layers: int) -> EncoderDecoderCache:
    """A cache for one forward of a decoder, to read its cross-attention's rows from."""
    return EncoderDecoderCache(cache(layers), cache(layers))


def crossed(own: Sequence[Pair], other: Sequence[Pair], joined: bool = False) -> Any:
    """A cache for a decoder's step: `own` rows of the text, `other` rows to look at as they are."""
    layers = len(own)
    both = EncoderDecoderCache(cache(layers, own, joined=joined), cache(layers, other))
    both.is_updated = dict.fromkeys(range(layers), True)
    return both


def new_rows(filled: Cache) -> list[Pair]:
    """The new rows of every layer of `filled`."""
    return [layer.new for layer in filled.layers]


def step_mask(
    position: Tensor, text_rows: int, image_rows: int = 0, length: Tensor | None = None
) -> Tensor:
    """What one new token attends to: image rows, text rows before `position` [B], itself.

    Of the image rows the first `length` [B]; None: all.
    Returns an additive mask [B,1,1,S], S = image rows + text rows + 1: being 4-D, it passes
    through every mask function of transformers untouched.
    """
    text = _from(position, text_rows)
    if length is None:
        return nn.functional.pad(text, (image_rows, 1))  # [B,1,1,S]
    both = torch.cat((_from(length, image_rows), text), -1)
    return nn.functional.pad(both, (0, 1))  # [B,1,1,S]


def _from(first: Tensor, count: int) -> Tensor:
    """The additive mask [B,1,1,count] of rows of which those from `first` [B] on are unseen."""
    rows = torch.arange(count, dtype=first.dtype, device=first.device)
    return (rows >= first[:, None]).to(torch.float32)[:, None, None] * UNSEEN


def causal_mask(rows: int) -> Tensor:
    """The mask of rows that attend to themselves and those before: additive [1,1,rows,rows]."""
    return torch.full((rows, rows), UNSEEN).triu(1)[None, None]


def alone(features: Tensor) -> Tensor:
    """The mask [B,1,1,1] of a token that attends to itself, one for each of `features` [B,…]."""
    return features.new_zeros(features.shape[0], 1, 1, 1)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Any,
    value: Any,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Softmax attention over rows in parts.

    Args:
        query: [B,H,N,Dh].
        key, value: [B,G,R,Dh], or a tuple of such.
        attention_mask: additive [B,1,N,S], or None.

    Returns:
        What was attended to [B,N,H,Dh], and the weights [B,H,N,S].
    """
    keys = key if isinstance(key, tuple) else (key,)
    values = value if isinstance(value, tuple) else (value,)
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = [_per_head(query, part.transpose(2, 3)) for part in keys]  # each [B,H,N,R]
    score = torch.cat(scores, -1) if len(scores) > 1 else scores[0]  # [B,H,N,S]
    if softcap is not None:
        score = torch.tanh(score / softcap) * softcap
    if attention_mask is not None:
        score = score + attention_mask
    weights = torch.softmax(score, -1)  # [B,H,N,S]
    shares = weights.split([part.shape[2] for part in values], -1) if len(values) > 1 else [weights]
    attended = [_per_head(s, part) for s, part in zip(shares, values, strict=True)]
    return sum(attended[1:], attended[0]).transpose(1, 2).contiguous(), weights


def _per_head(left: Tensor, right: Tensor) -> Tensor:
    """`left` [B,H,N,X] @ `right` [B,G,X,Y], each head with its key/value head: [B,H,N,Y].

    transformers repeats `right` H / G times, which litert-torch 0.10 converts wrongly, without a
    word, where G is 1. Broadcasting there, and folding heads into rows elsewhere, copies nothing.
    """
    B, H, N, X = left.shape
    G, Y = right.shape[1], right.shape[3]
    if G in (1, H):
        return left @ right
    return (left.reshape(B, G, H // G * N, X) @ right).view(B, H, N, Y)


def _mask(
    mask_function: Any, attention_mask: Tensor | None = None, **settings: Any
) -> Tensor | None:
    """The additive mask that transformers asks for where none is given to it.

    None where nothing is masked: transformers' own would be made while tracing, and added.
    """
    if attention_mask is None and mask_function is bidirectional_mask_function:
        return None
    settings |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    allowed = sdpa_mask(mask_function=mask_function, attention_mask=attention_mask, **settings)
    return None if allowed is None else allowed.logical_not().to(torch.float32) * UNSEEN


AttentionInterface.register(NAME, attend)
# Without this transformers gives the function no mask at all, not even a causal one.
AttentionMaskInterface.register(NAME, _mask)


def written_out(
    layer: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """The self-attention of BLIP's and GIT's text layers, over rows in parts: [B,N,D], weights."""
    shape = (*hidden_states.shape[:-1], -1, layer.attention_head_size)
    query, key, value = (
        linear(hidden_states).view(shape).transpose(1, 2)  # [B,H,N,Dh]
        for linear in (layer.query, layer.key, layer.value)
    )
    if past_key_values is not None:
        if isinstance(past_key_values, EncoderDecoderCache):
            past_key_values = past_key_values.self_attention_cache
        key, value = past_key_values.update(key, value, layer.layer_idx)
    attended, weights = attend(layer, query, key, value, attention_mask)
    return attended.flatten(2), weights


class Attention:
    """Which attention the layers of `model` run: ours within `own`, transformers' outside it."""

    def __init__(
        self,
        model: PreTrainedModel,
        written_out: Sequence[nn.Module] = (),
        instead: Callable[..., Any] = written_out,
    ) -> None:
        """`instead` is run where a layer of `written_out` is called, which it gets first."""
        self.configs = {
            id(module.config): module.config
            for module in model.modules()
            if isinstance(module, PreTrainedModel) and module._can_set_attn_implementation()
        }
        self.written_out, self.instead = tuple(written_out), instead

    @contextmanager
    def own(self) -> Iterator[None]:
        """Attention over rows in parts, in every layer that can be switched to it."""
        before = {key: config._attn_implementation for key, config in self.configs.items()}
        for config in self.configs.values():
            config._attn_implementation_internal = NAME
        for layer in self.written_out:
            layer.forward = partial(self.instead, layer)
        try:
            yield
        finally:
            for key, config in self.configs.items():
                config._attn_implementation_internal = before[key]
            for layer in self.written_out:
                del layer.forward
