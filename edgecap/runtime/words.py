"""Groups generated tokens into words, each with its attention map.

Letters as in session.py; G patches along one side of the model input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgecap.runtime.decode import Chosen
from edgecap.runtime.tokenizer import SPACE, Tokenizer


@dataclass(frozen=True)
class WordMap:
    """A word or a box, and the attention of the steps that generated it."""

    text: str  # without surrounding spaces; location tokens for a box
    is_box: bool
    tokens: tuple[int, int]  # [start, end) in the caption's tokens
    map: np.ndarray  # f32 [G,G], sums to the share of attention on the image


def word_maps(
    chosen: Sequence[Chosen], tokenizer: Tokenizer, locations: range
) -> tuple[WordMap, ...]:
    """One entry per word and per box, in order; together they cover all tokens."""
    maps = []
    for start, end in _spans([choice.token for choice in chosen], tokenizer, locations):
        part = chosen[start:end]
        attention = np.mean([choice.attention for choice in part], axis=0, dtype=np.float32)  # [P]
        G = round(attention.size**0.5)
        text = tokenizer.decode([choice.token for choice in part]).strip()
        is_box = part[0].token in locations
        maps.append(WordMap(text, is_box, (start, end), attention.reshape(G, G)))
    return tuple(maps)


def _spans(tokens: Sequence[int], tokenizer: Tokenizer, locations: range) -> list[tuple[int, int]]:
    starts: list[int] = []
    box = 0  # location tokens in the current box
    for i, token in enumerate(tokens):
        if token in locations:
            if box % 4 == 0:
                starts.append(i)
            box += 1
            continue
        after_box, box = box > 0, 0
        if i == 0 or after_box or not _continues(tokens[i - 1], token, tokenizer):
            starts.append(i)
    return list(pairwise([*starts, len(tokens)]))


def _continues(before: int, token: int, tokenizer: Tokenizer) -> bool:
    """Whether `token` continues the word of the token `before`."""
    if tokenizer.is_byte(token):
        return tokenizer.is_byte(before)
    text = tokenizer.tokens[token]
    letters = text.isalpha() and all(ord(character) < 0x2E80 for character in text)  # no CJK
    earlier = tokenizer.tokens[before].lstrip(SPACE)
    return letters and (not earlier or earlier[-1].isalpha())
