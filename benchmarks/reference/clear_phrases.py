"""Phrases of a caption that name exactly one thing of a scene, with its true box.

Letters: G patches along one side of the model input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.explain import CaptionTrace
from edgecap.reference.scenes.graph import Box, Scene
from edgecap.reference.scenes.parse import parse
from edgecap.runtime.tokenizer import Tokenizer


@dataclass(frozen=True)
class Phrase:
    """Tokens [start, end) of a caption that name one thing, and its true box."""

    start: int
    end: int
    box: Box  # px of the model input


def clear_phrases(
    trace: CaptionTrace, scene: Scene, lang: str, tokenizer: Tokenizer
) -> Iterator[Phrase]:
    """Phrases of a grounded caption that name one thing that is unique in the scene."""
    caption = trace.attention.caption
    true = {thing.name: thing.box for thing in scene.things}
    names = [thing.name for thing in scene.things]
    boxed = {
        mention.boxes[0]: mention.name
        for mention in parse(caption.raw, lang).statement.mentions
        if mention.count == len(mention.boxes) == 1
    }
    ends = [word.tokens[0] for word in trace.attention.words if word.is_box]
    boxes = [box for mention in caption.mentions for box in mention.boxes]
    for mention in caption.mentions:
        name = boxed.get(mention.boxes[0])
        if len(mention.boxes) != 1 or name is None or names.count(name) != 1:
            continue
        if boxes.count(mention.boxes[0]) != 1:
            continue
        end = ends[boxes.index(mention.boxes[0])]
        start = _phrase_start(caption.tokens, end, mention.phrase, tokenizer)
        yield Phrase(start, end, true[name])


def _phrase_start(tokens: Sequence[int], end: int, phrase: str, tokenizer: Tokenizer) -> int:
    """The token at which the phrase that ends before `end` begins."""
    start = end - 1
    while start > 0:
        text = tokenizer.decode(tokens[start:end], skip_special=True).strip()
        if len(text) >= len(phrase.strip()):
            break
        start -= 1
    return start


def near(box: Box, size: int, G: int) -> np.ndarray:
    """bool [G,G]: patches with their centre in the box or half a patch beside it.

    Box and `size`, the side of the model input, in px.
    """
    patch = size / G
    centres = (np.arange(G) + 0.5) * patch  # [G], px
    x0, y0, x1, y1 = box
    across = (centres >= x0 - patch / 2) & (centres <= x1 + patch / 2)
    down = (centres >= y0 - patch / 2) & (centres <= y1 + patch / 2)
    return down[:, None] & across[None]
