"""What recorded tokens read as: text and boxes, whatever an engine makes of the image.

A bundle with the tokenizer, the regions or the end tokens of another model generates the recorded
tokens and says something else; `edgecap verify` notices it by these figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecap.bundle.certificate import AgreementParity
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.captions import Caption, read
from edgecap.runtime.image_processing import process
from edgecap.runtime.regions import Input

# Engines round differently, so that a long caption may meet the limit of one and not of another.
_ENDS = 0.5


@dataclass(frozen=True)
class Recorded:
    """How a recorded caption reads; the fields are None in bundles made before 2026-11-30."""

    raw: str | None  # with special tokens
    boxes: tuple[tuple[float, ...], ...] | None = None  # x0 y0 x1 y1, px of the image, 3 decimals
    complete: bool | None = None  # an end token ended it


def recorded(captioner: Captioner, image: bytes, caption: Caption) -> Recorded:
    """How a caption that the captioner generated reads."""
    return Recorded(*_reading(captioner, image, caption.tokens, caption.lang), caption.complete)


def compare_readings(
    captioner: Captioner,
    cases: Sequence[tuple[bytes, Sequence[int], str]],
    readings: Sequence[Recorded],
    captions: Sequence[Caption],
) -> tuple[AgreementParity, ...]:
    """Readings of recorded tokens, and whether captions end as the recorded ones.

    Args:
        cases: image, recorded tokens and language ("" for a model without languages).
        readings: what was recorded for each.
        captions: what the captioner generated for each now.
    """
    ends = {token for spec in captioner.manifest.prompts.values() for token in spec.eos}
    same = []
    for (image, tokens, lang), known in zip(cases, readings, strict=True):
        raw, boxes = _reading(captioner, image, tokens, lang)
        same.append(
            known.raw in (None, raw) and known.boxes in (None, boxes) and ends.isdisjoint(tokens)
        )
    ended = [
        caption.complete
        for known, caption in zip(readings, captions, strict=True)
        if known.complete
    ]
    agreements = [AgreementParity("reading", sum(same) / len(same), 1)]
    if ended:
        agreements.append(AgreementParity("ends", sum(ended) / len(ended), _ENDS))
    return tuple(agreements)


def _reading(
    captioner: Captioner, image: bytes, tokens: Sequence[int], lang: str
) -> tuple[str, tuple[tuple[float, ...], ...]]:
    """Text with special tokens, and the boxes."""
    manifest, codec = captioner.manifest, captioner.codec
    view = Input(manifest.image.input_size, process(image, manifest.image).placement)
    regions = read(tokens, [0.0] * len(tokens), codec, manifest.regions, view, lang).regions
    boxes = (box for region in regions for box in region.boxes)
    return (
        codec.decode(tokens, skip_special=False),
        tuple(tuple(round(float(edge), 3) for edge in box) for box in boxes),
    )
