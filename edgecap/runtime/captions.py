"""The results of a captioner, and how they are read from generated tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from edgecap.bundle.manifest import Manifest
from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.runtime.decode import Generated
from edgecap.runtime.image_processing import Box, Placement
from edgecap.runtime.mentions import phrase_start
from edgecap.runtime.regions import Input, Reading, read_regions
from edgecap.runtime.text import TextCodec
from edgecap.runtime.words import WordMap


@dataclass(frozen=True)
class Mention:
    """A phrase of a caption and its boxes in the image."""

    phrase: str
    span: tuple[int, int]  # of the phrase in the caption's text
    boxes: tuple[Box, ...]  # x0, y0, x1, y1 in px of the given image, upright by EXIF
    scores: tuple[float, ...]  # 0-1 per box: geometric mean probability of its tokens
    confidences: tuple[float, ...] = ()  # 0-1 per box: it is right; none without a calibration


@dataclass(frozen=True)
class Caption:
    """The caption of one image."""

    text: str  # words only
    raw: str  # with location and other special tokens
    lang: str  # "" for a model whose prompts have no language
    style: str  # the name of the prompt for such a model
    mentions: tuple[Mention, ...]
    tokens: tuple[int, ...]  # without the end token
    scores: tuple[float, ...]  # log-probability per token
    score: float  # mean log-probability, the end included
    complete: bool  # False if the length limit cut it
    malformed: int  # runs of location tokens that are no box; always 0 with constrained decoding
    confidence: float | None = None  # 0-1: the caption is right; None where it was not rated
    declined: bool = False  # less confident than requested: without words and boxes
    notes: tuple[str, ...] = ()  # on the image, such as that the marker at its end is missing


@dataclass(frozen=True)
class Attention:
    """A caption and the attention map of each of its words."""

    caption: Caption
    words: tuple[WordMap, ...]
    placement: Placement  # of the image in the model input that the maps cover


def read_caption(
    generated: Generated,
    placement: Placement,
    lang: str,
    style: str,
    codec: TextCodec,
    manifest: Manifest,
) -> Caption:
    """The caption of an image with this `placement` in the model input."""
    tokens = generated.tokens
    scores = [chosen.score for chosen in generated.chosen]
    view = Input(manifest.image.input_size, placement)
    reading = read(tokens, scores, codec, manifest.regions, view, lang)
    mentions = tuple(
        Mention(reading.phrase(region), (region.start, region.end), region.boxes, region.scores)
        for region in reading.regions
    )
    return Caption(
        text=reading.text,
        raw=codec.decode(tokens, skip_special=False),
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


def read(
    tokens: Sequence[int],
    scores: Sequence[float],
    codec: TextCodec,
    regions: RegionsSpec | None,
    view: Input,
    lang: str,
) -> Reading:
    """Text and regions of generated tokens; boxes in px of the image that `view` places."""
    if regions is None:
        return Reading(codec.decode(tokens).strip(), (), 0)
    if not lang:
        return read_regions(tokens, codec, regions, view, scores)
    # Phrases begin as a language writes them, and the text is kept as it was generated.
    find = partial(phrase_start, language=lang)
    return read_regions(tokens, codec, regions, view, scores, find, strip=False)
