"""The results of a captioner, and how they are read from generated tokens."""

from __future__ import annotations

from dataclasses import dataclass

from edgecap.bundle.manifest import Manifest
from edgecap.runtime.decode import Generated
from edgecap.runtime.mentions import read
from edgecap.runtime.preprocess import Box, Letterbox
from edgecap.runtime.vocabulary import Vocabulary
from edgecap.runtime.words import WordMap


@dataclass(frozen=True)
class Mention:
    """A phrase of a caption and its boxes in the image."""

    phrase: str
    span: tuple[int, int]  # of the phrase in the caption's text
    boxes: tuple[Box, ...]  # x0, y0, x1, y1 in px of the given image, upright as EXIF says
    scores: tuple[float, ...]  # 0-1 per box: geometric mean probability of its four tokens
    confidences: tuple[float, ...] = ()  # 0-1 per box: it is right; none without a calibration


@dataclass(frozen=True)
class Caption:
    """The caption of one image."""

    text: str  # words only
    raw: str  # with the location tokens
    lang: str
    style: str
    mentions: tuple[Mention, ...]
    tokens: tuple[int, ...]  # without <eos>
    scores: tuple[float, ...]  # log-probability per token
    score: float  # mean log-probability, the end included
    complete: bool  # False if the length limit cut it
    malformed: int  # runs of location tokens that are no box; always 0 with constrained decoding
    confidence: float | None = None  # 0-1: the caption is right; None without a calibration
    declined: bool = False  # less confident than asked for: without words and boxes
    notes: tuple[str, ...] = ()  # on the image, such as that the marker at its end is missing


@dataclass(frozen=True)
class Attention:
    """A caption and the attention map of each of its words."""

    caption: Caption
    words: tuple[WordMap, ...]
    placement: Letterbox  # of the image in the model input that the maps cover


def read_caption(
    generated: Generated,
    placement: Letterbox,
    lang: str,
    style: str,
    vocabulary: Vocabulary,
    manifest: Manifest,
) -> Caption:
    """The caption of an image with this `placement` in the model input."""
    tokens, tokenizer = generated.tokens, vocabulary.tokenizer
    scores = [chosen.score for chosen in generated.chosen]
    bin_px = manifest.coordinates.bin_px
    reading = read(tokens, scores, tokenizer, vocabulary.locations, bin_px, lang)
    mentions = tuple(
        Mention(
            reading.text[group.start : group.end],
            (group.start, group.end),
            tuple(placement.to_image(box) for box in group.boxes),
            group.scores,
        )
        for group in reading.groups
    )
    return Caption(
        text=reading.text,
        raw=tokenizer.decode(tokens),
        lang=lang,
        style=style,
        mentions=mentions,
        tokens=tuple(tokens),
        scores=tuple(scores),
        score=generated.score,
        complete=generated.complete,
        malformed=reading.malformed,
        notes=placement.notes,
    )
