"""Scoring a captioner on a user's own images and captions.

Letters: N images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgecap.apps.caption_metrics import CaptionScores, score_captions, tokenize
from edgecap.apps.pairs import Region
from edgecap.apps.pairs.examples import Example
from edgecap.core.boxes import iou
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.core.progress import progress
from edgecap.runtime.captions import Caption, Mention

OVERLAP = 0.5  # IoU from which a box counts as the right one
_EMPTY_WORDS = frozenset(tokenize("a an the of and in on with his her its their some"))


@dataclass(frozen=True)
class DataReport:
    """How a captioner did on N images. Scores are those of `CaptionScores`."""

    about: dict[str, Any]  # captioner, backend, precision, data, prompt or language
    images: int
    references: int  # captions that people wrote
    scores: CaptionScores
    regions: int  # boxes that the data has
    # Shares of these: found by a box of the caption, and also named by a word of its phrase. None
    # where the data has no boxes, or the model writes none.
    box_recall: float | None
    grounding_recall: float | None
    cut: int  # captions that the length limit cut
    words: float  # mean words of a generated caption
    captions: list[dict[str, Any]]  # per image: its path and what was written

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def evaluate(
    captioner: Any, examples: Sequence[Example], options: dict[str, Any], about: dict[str, Any]
) -> DataReport:
    """Caption every image and score what is written.

    Args:
        captioner: of `edgecap.load`.
        examples: N of them.
        options: of the captioner's `caption_many`: lang, or prompt.
        about: goes into the report.

    Raises:
        InputError with file and line for an image that cannot be read; UnsupportedError for a model
        that writes no captions.
    """
    if not hasattr(captioner, "caption_many"):
        raise UnsupportedError("model.capability", "this model writes no captions.")
    captions = list(progress(_captions(captioner, examples, options), "captions", len(examples)))
    found = named = 0
    for caption, example in zip(captions, examples, strict=True):
        each = recalled(example.regions, caption.mentions)
        found += each[0]
        named += each[1]
    regions = sum(len(example.regions) for example in examples)
    boxed = regions > 0 and any(mention.boxes for c in captions for mention in c.mentions)
    return DataReport(
        about=about,
        images=len(examples),
        references=sum(len(example.captions) for example in examples),
        scores=score_captions([c.text for c in captions], [e.captions for e in examples]),
        regions=regions,
        box_recall=found / regions if boxed else None,
        grounding_recall=named / regions if boxed else None,
        cut=sum(not caption.complete for caption in captions),
        words=sum(len(tokenize(caption.text)) for caption in captions) / len(captions),
        captions=[
            {"image": str(example.image), "caption": caption.text}
            for caption, example in zip(captions, examples, strict=True)
        ],
    )


def _captions(
    captioner: Any, examples: Sequence[Example], options: dict[str, Any]
) -> Iterator[Caption]:
    images = (example.image for example in examples)
    made = captioner.caption_many(images, on_error="skip", **options)
    for example, caption in zip(examples, made, strict=True):
        if isinstance(caption, InputError):
            raise InputError(
                caption.code, f"{example.where}: {caption.message}", "Take it out of the data."
            )
        yield caption


def recalled(regions: Sequence[Region], mentions: Sequence[Mention]) -> tuple[int, int]:
    """(boxes found, boxes found and named) of an image's regions.

    Every generated box can find one region: pairs are taken from the largest IoU down. A region is
    named if its phrase shares a word with the mention's; one without a phrase always is.
    """
    generated = [(mention.phrase, box) for mention in mentions for box in mention.boxes]
    pairs = sorted(
        (
            (overlap, r, g)
            for r, region in enumerate(regions)
            for g, (_, box) in enumerate(generated)
            if (overlap := iou(region.box, box)) >= OVERLAP
        ),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    taken: dict[int, int] = {}
    for _, r, g in pairs:
        if r not in taken and g not in taken.values():
            taken[r] = g
    named = sum(_same_thing(regions[r].phrase, generated[g][0]) for r, g in taken.items())
    return len(taken), named


def _same_thing(true: str, generated: str) -> bool:
    words = set(tokenize(true)) - _EMPTY_WORDS
    return not words or bool(words & set(tokenize(generated)))
