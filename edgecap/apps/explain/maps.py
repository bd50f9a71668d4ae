"""A caption that was told, and maps of its words.

Letters as in session.py; t tokens of the caption, W words, G patches along one side of the
model_input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecap.core.errors import InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Attention
from edgecap.runtime.preprocess import Box, ImageLike, preprocess

PUNCTUATION = ".,;:!?、。，；：！？"

# What each kind of map shows, in the words that a reader of it is given.
KINDS: dict[str, str] = {
    "attention": (
        "Attention: where the model looked while it chose the word, mean over layers and heads. "
        "It is not an explanation: what is looked at need not be what decided."
    ),
    "layers": (
        "Attention of each head of each layer. It is not an explanation: what is looked at need "
        "not be what decided."
    ),
    "gradient": (
        "Gradient × attention: looks that would have made the word more likely had they been "
        "stronger. Nearer to a cause than attention alone, and still no proof."
    ),
    "occlusion": (
        "Occlusion: how much less likely the word becomes when this part of the image is hidden. "
        "The causal check; two parts that say the same can hide each other's effect."
    ),
}


@dataclass(frozen=True)
class CaptionTrace:
    """The greedy caption of an image, and all that is needed to ask the model again."""

    model_input: np.ndarray  # uint8 [S,S,3]
    prompt: tuple[int, ...]
    attention: Attention

    @property
    def tokens(self) -> tuple[int, ...]:
        """The t tokens of the caption."""
        return self.attention.caption.tokens


@dataclass(frozen=True)
class Maps:
    """One map per word of a caption."""

    kind: str  # one of KINDS
    words: np.ndarray  # f32 [W,G,G], in units of its kind
    layer: int | None = None  # of one head's maps, counted from 0
    head: int | None = None

    @property
    def note(self) -> str:
        """What the reader must know."""
        return KINDS[self.kind]


def trace_caption(
    captioner: Captioner,
    image: ImageLike,
    lang: str = "en",
    style: str = "grounded",
    max_length: int | None = None,
) -> CaptionTrace:
    """Caption an image; errors as of `Captioner.attention`."""
    attention = captioner.attention(image, lang=lang, style=style, max_length=max_length)
    model_input, _ = preprocess(image, captioner.manifest.preprocessing)
    return CaptionTrace(model_input, tuple(captioner.vocabulary.prompt(lang, style)), attention)


def per_word(told: CaptionTrace, tokens: np.ndarray) -> np.ndarray:
    """Maps of tokens f32 [t,G,G] as maps of words [W,G,G]: the mean over a word's tokens."""
    spans = [word.tokens for word in told.attention.words]
    G = tokens.shape[-1]
    if not spans:
        return np.zeros((0, G, G), np.float32)
    return np.stack([tokens[start:end].mean(0) for start, end in spans])


def word_boxes(told: CaptionTrace) -> list[Box | None]:
    """Per word of the caption the box that it is, px of the image; None for words in letters."""
    boxes = iter([box for mention in told.attention.caption.mentions for box in mention.boxes])
    return [next(boxes, None) if word.is_box else None for word in told.attention.words]


def find_word(told: CaptionTrace, text: str | None) -> int | None:
    """The place of a word in the caption; by default the longest, which says most of the image.

    None where a caption has no words. Raises InputError for a word that it has not.
    """
    words = [word.text for word in told.attention.words]
    said = [i for i, word in enumerate(told.attention.words) if not word.is_box]
    if text is None:
        return max(said, key=lambda i: len(words[i]), default=None)
    found = [i for i in said if words[i].strip(PUNCTUATION).casefold() == text.casefold()]
    if not found:
        known = ", ".join(dict.fromkeys(words[i].strip(PUNCTUATION) for i in said))
        raise InputError(
            "explain.word", f"the caption has no word {text!r}; it has {known or 'none'}."
        )
    return found[0]


def attention(told: CaptionTrace) -> np.ndarray:
    """The default map, which every artifact gives: f32 [t,G,G], alike for the tokens of a word."""
    maps = [np.stack([w.map] * (w.tokens[1] - w.tokens[0])) for w in told.attention.words]
    return np.concatenate(maps) if maps else np.zeros((0, 1, 1), np.float32)
