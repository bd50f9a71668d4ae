"""The trace of a caption, and maps of its words.

Letters as in bundle/interface.py; t tokens of the caption, W words, G patches along one side of the
model_input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Attention
from edgecap.runtime.preprocess import Box, ImageLike, preprocess

PUNCTUATION = ".,;:!?、。，；：！？"

# The explanation of each kind of map for its reader.
KINDS: dict[str, str] = {
    "attention": (
        "Attention while the word was generated, mean over layers and heads. Not an explanation: "
        "a region with attention need not be the cause of the word."
    ),
    "layers": (
        "Attention of each head of each layer. Not an explanation: a region with attention need "
        "not be the cause of the word."
    ),
    "gradient": (
        "Gradient × attention: attention that would make the word more likely if it were "
        "stronger. Closer to a cause than attention alone, but no proof."
    ),
    "occlusion": (
        "Occlusion: how much less likely the word becomes when this part of the image is hidden. "
        "A causal check; two parts with the same information can mask each other's effect."
    ),
}


@dataclass(frozen=True)
class CaptionTrace:
    """The greedy caption of an image, with all inputs needed to run the model again."""

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
        """The explanation for the reader."""
        return KINDS[self.kind]


def trace_caption(
    captioner: Captioner,
    image: ImageLike,
    lang: str = "en",
    style: str = "grounded",
    max_length: int | None = None,
) -> CaptionTrace:
    """Caption an image; errors as in `Captioner.attention`."""
    attention = captioner.attention(image, lang=lang, style=style, max_length=max_length)
    model_input, _ = preprocess(image, captioner.manifest.image)
    return CaptionTrace(model_input, tuple(captioner.vocabulary.prompt(lang, style)), attention)


def grid_of(captioner: Captioner) -> int:
    """G of a captioner's maps; UnsupportedError for a model that gives no square ones."""
    grid = captioner.manifest.interface.attention
    if grid is None or grid.rows != grid.columns:
        raise UnsupportedError(
            "model.capability", f"{captioner.manifest.name} has no square attention maps."
        )
    return grid.rows


def per_word(trace: CaptionTrace, tokens: np.ndarray) -> np.ndarray:
    """Maps of tokens f32 [t,G,G] as maps of words [W,G,G]: the mean over a word's tokens."""
    spans = [word.tokens for word in trace.attention.words]
    G = tokens.shape[-1]
    if not spans:
        return np.zeros((0, G, G), np.float32)
    return np.stack([tokens[start:end].mean(0) for start, end in spans])


def word_boxes(trace: CaptionTrace) -> list[Box | None]:
    """Per word of the caption its box in px of the image; None for words that are no box."""
    boxes = iter([box for mention in trace.attention.caption.mentions for box in mention.boxes])
    return [next(boxes, None) if word.is_box else None for word in trace.attention.words]


def find_word(trace: CaptionTrace, text: str | None) -> int | None:
    """The index of a word in the caption; by default of the longest, often the most informative.

    None if the caption has no words. Raises InputError for a word that is not in it.
    """
    words = [word.text for word in trace.attention.words]
    spoken = [i for i, word in enumerate(trace.attention.words) if not word.is_box]
    if text is None:
        return max(spoken, key=lambda i: len(words[i]), default=None)
    found = [i for i in spoken if words[i].strip(PUNCTUATION).casefold() == text.casefold()]
    if not found:
        known = ", ".join(dict.fromkeys(words[i].strip(PUNCTUATION) for i in spoken))
        raise InputError(
            "explain.word", f"the caption has no word {text!r}; it has {known or 'none'}."
        )
    return found[0]


def attention(trace: CaptionTrace) -> np.ndarray:
    """The default maps, of any bundle: f32 [t,G,G], equal for all tokens of a word."""
    maps = [np.stack([w.map] * (w.tokens[1] - w.tokens[0])) for w in trace.attention.words]
    return np.concatenate(maps) if maps else np.zeros((0, 1, 1), np.float32)
