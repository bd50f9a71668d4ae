"""Images with captions that people wrote, and where things are in them, to score a model on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edgecap.apps.pairs import Pair, Region, read_pairs


@dataclass
class Example:
    """One image and its references."""

    image: Path
    where: str  # file and line of its first caption, for messages
    captions: list[str] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)  # each once; boxes in px of the image


def read_examples(
    data: Path, images: Path | None = None, lang: str = "en", n: int | None = None
) -> list[Example]:
    """The first `n` images of a data set with all their captions; all for None.

    Args:
        data: COCO captions (.json), JSONL, or a Hugging Face imagefolder.
        images: root folder of the image names; by default that of the file.
        lang: rows of other languages are skipped; rows without a language are of this one.

    Raises:
        InputError, code pairs.*, with file and line of the first row that is not valid.
    """
    return grouped(read_pairs(data, lang, images))[:n]


def grouped(pairs: Iterable[Pair]) -> list[Example]:
    """Captions and regions by image, in the order in which images first appear."""
    found: dict[Path, Example] = {}
    for pair in pairs:
        example = found.setdefault(pair.image, Example(pair.image, pair.where))
        example.captions.append(pair.caption)
        named = [
            Region(pair.caption[span.start : span.end], box)
            for span in pair.spans
            for box in span.boxes
        ]
        for region in (*pair.regions, *named):
            if region.box not in (known.box for known in example.regions):
                example.regions.append(region)
    return list(found.values())
