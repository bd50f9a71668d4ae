"""Groups generated tokens into words, each with its attention map.

Letters: P patches, G patches along one side of the model input.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.runtime.decode import Chosen
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.families import REPLACEMENT

_CJK = 0x2E80  # from here on, scripts without spaces: every token is a word


@dataclass(frozen=True)
class WordMap:
    """A word or a box, and the attention of the steps that generated it."""

    text: str  # without surrounding spaces; location tokens for a box
    is_box: bool
    tokens: tuple[int, int]  # [start, end) in the caption's tokens
    map: np.ndarray  # f32 [G,G], sums to the share of attention on the image


def word_maps(
    chosen: Sequence[Chosen], codec: TextCodec, regions: RegionsSpec | None
) -> tuple[WordMap, ...]:
    """One entry per word and per box, in order; together they cover all tokens."""
    maps = []
    for start, end in _spans([choice.token for choice in chosen], codec, regions):
        part = chosen[start:end]
        looked = [choice.attention for choice in part if choice.attention is not None]
        attention = np.mean(looked, axis=0, dtype=np.float32)  # [P]
        G = round(attention.size**0.5)
        text = codec.decode([choice.token for choice in part], skip_special=False).strip()
        is_box = regions is not None and part[0].token in regions.places
        maps.append(WordMap(text, is_box, (start, end), attention.reshape(G, G)))
    return tuple(maps)


def _spans(
    tokens: Sequence[int], codec: TextCodec, regions: RegionsSpec | None
) -> list[tuple[int, int]]:
    starts: list[int] = []
    places = 0  # in the current run of boxes
    before = ""  # the text of the character or token before, if that is no place
    at = 0
    while at < len(tokens):
        if regions is not None and tokens[at] in regions.places:
            if places % regions.per_box == 0:
                starts.append(at)
            places, before, end = places + 1, "", at + 1
        else:
            end, text = _readable(tokens, at, codec)
            if not _continues(before, text):
                starts.append(at)
            places, before = 0, text
        at = end
    return list(pairwise([*starts, len(tokens)]))


def _readable(tokens: Sequence[int], at: int, codec: TextCodec) -> tuple[int, str]:
    """The end and the text of the fewest tokens from `at` that hold whole characters.

    A token may be a part of a character, which has at most four bytes; no text if it stays one.
    """
    for end in range(at + 1, min(at + 4, len(tokens)) + 1):
        text = codec.inside(tokens[at:end])
        if REPLACEMENT not in text:
            return end, text
    return at + 1, ""


def _continues(before: str, text: str) -> bool:
    """Whether `text` continues the word that `before` ends: no space, and letters on both sides."""
    if before.isspace():  # a space that is a token of its own belongs to what follows
        return True
    return bool(before and text) and _is_letter(before[-1]) and _is_letter(text[0])


def _is_letter(character: str) -> bool:
    """Letters, the marks on them and digits, of a script that has spaces between words."""
    return ord(character) < _CJK and unicodedata.category(character)[0] in "LMN"
