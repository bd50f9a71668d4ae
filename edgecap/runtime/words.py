"""Groups generated tokens into words, each with its attention map.

Letters: P patches, G patches along one side of the model input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgecap.runtime.decode import Chosen
from edgecap.runtime.text import TextCodec


@dataclass(frozen=True)
class WordMap:
    """A word or a box, and the attention of the steps that generated it."""

    text: str  # without surrounding spaces; location tokens for a box
    is_box: bool
    tokens: tuple[int, int]  # [start, end) in the caption's tokens
    map: np.ndarray  # f32 [G,G], sums to the share of attention on the image


def word_maps(chosen: Sequence[Chosen], codec: TextCodec, locations: range) -> tuple[WordMap, ...]:
    """One entry per word and per box, in order; together they cover all tokens."""
    maps = []
    for start, end in _spans([choice.token for choice in chosen], codec, locations):
        part = chosen[start:end]
        looked = [choice.attention for choice in part if choice.attention is not None]
        attention = np.mean(looked, axis=0, dtype=np.float32)  # [P]
        G = round(attention.size**0.5)
        text = codec.decode([choice.token for choice in part], skip_special=False).strip()
        is_box = part[0].token in locations
        maps.append(WordMap(text, is_box, (start, end), attention.reshape(G, G)))
    return tuple(maps)


def _spans(tokens: Sequence[int], codec: TextCodec, locations: range) -> list[tuple[int, int]]:
    starts: list[int] = []
    box = 0  # location tokens in the current box
    for i, token in enumerate(tokens):
        if token in locations:
            if box % 4 == 0:
                starts.append(i)
            box += 1
            continue
        after_box, box = box > 0, 0
        if i == 0 or after_box or not _continues(tokens[i - 1], token, codec):
            starts.append(i)
    return list(pairwise([*starts, len(tokens)]))


def _continues(before: int, token: int, codec: TextCodec) -> bool:
    """Whether `token` continues the word of the token `before`."""
    if codec.is_byte(token):
        return codec.is_byte(before)
    text = codec.token(token) or ""
    letters = text.isalpha() and all(ord(character) < 0x2E80 for character in text)  # no CJK
    earlier = (codec.token(before) or "").lstrip(codec.spec.space)
    return letters and (not earlier or earlier[-1].isalpha())
