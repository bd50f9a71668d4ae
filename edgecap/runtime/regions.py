"""Splits generated ids into text, phrases and boxes in pixels of the user's image.

The text is decoded without location ids and marks; a region refers to its phrase by character
positions in that text. Invalid boxes are dropped and counted. Codecs: edgecap.bundle.regions_spec.
A `place` is a location id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.runtime.image_processing import Box, Placement
from edgecap.runtime.text import TextCodec

# From the text since the last region to the start of the phrase at its end.
PhraseStart: TypeAlias = Callable[[str], int]
_SEPARATOR = re.compile(r"[.,;:!?、。，；：！？「」()\"]")


@dataclass(frozen=True)
class Region:
    """A phrase and its boxes."""

    start: int  # of the phrase in the clean text
    end: int  # equal to start if there is no phrase
    boxes: tuple[Box, ...]  # x0, y0, x1, y1 in the image's pixels
    scores: tuple[float, ...]  # per box: geometric mean probability of its tokens


@dataclass(frozen=True)
class Reading:
    """The clean text, its regions in text order, and the number of invalid boxes."""

    text: str
    regions: tuple[Region, ...]
    malformed: int  # groups of places that are not a box, and left-over places

    def phrase(self, region: Region) -> str:
        """The phrase of a region."""
        return self.text[region.start : region.end]


@dataclass(frozen=True)
class Input:
    """The coordinate system of boxes: the model's input, and the placement of the image in it."""

    size: tuple[int, int]  # (h, w) of the input in px
    placement: Placement


def read_regions(
    ids: Sequence[int],
    codec: TextCodec,
    spec: RegionsSpec,
    view: Input,
    scores: Sequence[float] | None = None,
    phrase_start: PhraseStart | None = None,
    strip: bool = True,
) -> Reading:
    """Separate words from boxes.

    Args:
        ids: the generated ids, special tokens allowed.
        scores: log-probabilities of `ids`; by default all 0.
        phrase_start: for codecs whose phrase is the text before a box (edges4, loc1000); by
            default it begins after the last punctuation mark (edges4) or region (loc1000).
        strip: remove surrounding spaces of the text.
    """
    walk = _Walk(ids, codec, spec, view, [0.0] * len(ids) if scores is None else scores)
    if spec.codec == "cells2":
        groups = _marked(walk)
    elif spec.codec == "loc1024":
        groups = _before_phrase(walk)
    else:
        groups = _after_phrase(walk, phrase_start)
    regions = tuple(groups)
    reading = Reading(walk.text, regions, walk.malformed)
    return _stripped(reading) if strip else reading


class _Walk:
    """Iterates over ids as words and runs of places, with the decoded text of the words."""

    def __init__(
        self,
        ids: Sequence[int],
        codec: TextCodec,
        spec: RegionsSpec,
        view: Input,
        scores: Sequence[float],
    ) -> None:
        self.ids, self.spec = ids, spec
        self.malformed = 0
        self._codec, self._view, self._scores = codec, view, scores
        marks = {*spec.marks.values()}
        self._words: list[int] = []
        self._counts = [0]  # words among the first n ids
        for id_ in ids:
            if not self.is_place(id_) and id_ not in marks:
                self._words.append(id_)
            self._counts.append(len(self._words))
        self.text = codec.decode(self._words)

    def is_place(self, id_: int) -> bool:
        return id_ in self.spec.places

    def length(self, n: int) -> int:
        """The number of characters of the words among the first n ids."""
        return min(len(self._codec.decode(self._words[: self._counts[n]])), len(self.text))

    def runs(self) -> Iterator[tuple[int, int]]:
        """(start, end) of every run of places among the ids."""
        place = 0
        while place < len(self.ids):
            if not self.is_place(self.ids[place]):
                place += 1
                continue
            end = place
            while end < len(self.ids) and self.is_place(self.ids[end]):
                end += 1
            yield place, end
            place = end

    def boxes(self, start: int, end: int) -> tuple[tuple[Box, ...], tuple[float, ...]]:
        """Boxes of the places ids[start:end], and their scores."""
        size = self.spec.per_box
        found, scores = [], []
        for i in range(start, end - size + 1, size):
            values = [id_ - self.spec.first for id_ in self.ids[i : i + size]]
            box = _input_box(values, self.spec, self._view.size)
            if box is None:
                self.malformed += 1
                continue
            found.append(self._view.placement.to_image(box))
            scores.append(math.exp(sum(self._scores[i : i + size]) / size))
        self.malformed += (end - start) % size > 0
        return tuple(found), tuple(scores)


def _input_box(values: Sequence[int], spec: RegionsSpec, size: tuple[int, int]) -> Box | None:
    """A box in px of the input from its places; None if it is invalid."""
    h, w = size
    if spec.codec == "cells2":
        unit = _cells(values[0], values[1], math.isqrt(spec.count))
    elif spec.codec == "edges4":
        x0, y0, x1, y1 = (float(value * spec.bin_px) for value in values)
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
    elif spec.codec == "loc1000":
        # The middle of a bin, as in Florence-2's own post-processor.
        unit = tuple((value + 0.5) / spec.count for value in values)
    else:
        y0, x0, y1, x1 = (value / spec.count for value in values)
        unit = (x0, y0, x1, y1)
    x0, y0, x1, y1 = unit
    return (x0 * w, y0 * h, x1 * w, y1 * h) if x0 <= x1 and y0 <= y1 else None


def _cells(first: int, last: int, n: int) -> tuple[float, ...]:
    """The box between two cells of an n x n grid in units of 0-1, as Kosmos-2 defines it.

    From centre to centre, but from edge to edge if both are in one row or column.
    """
    (y0, x0), (y1, x1) = divmod(first, n), divmod(last, n)
    before, after = (0.0, 1.0) if x0 == x1 or y0 == y1 else (0.5, 0.5)
    return (x0 + before) / n, (y0 + before) / n, (x1 + after) / n, (y1 + after) / n


def _after_phrase(walk: _Walk, phrase_start: PhraseStart | None) -> Iterator[Region]:
    """edges4, loc1000: the words since the last region, then the boxes."""
    find_start = phrase_start or (_after_mark if walk.spec.codec == "edges4" else _after_spaces)
    previous = 0
    for start, end in walk.runs():
        boxes, scores = walk.boxes(start, end)
        text_end = len(walk.text[: walk.length(start)].rstrip())
        if boxes:
            # Of two runs without text between them, the second has an empty phrase.
            begin = min(previous + find_start(walk.text[previous:text_end]), text_end)
            yield Region(begin, text_end, boxes, scores)
        previous = max(text_end, previous)


def _after_mark(text: str) -> int:
    start = max((match.end() for match in _SEPARATOR.finditer(text)), default=0)
    return start + _after_spaces(text[start:])


def _after_spaces(text: str) -> int:
    return len(text) - len(text.lstrip())


def _before_phrase(walk: _Walk) -> Iterator[Region]:
    """loc1024: the boxes, then the words up to the next ";" or box."""
    runs = list(walk.runs())
    for n, (start, end) in enumerate(runs):
        boxes, scores = walk.boxes(start, end)
        if not boxes:
            continue
        last = runs[n + 1][0] if n + 1 < len(runs) else len(walk.ids)
        begin = walk.length(end)
        phrase = walk.text[begin : walk.length(last)].split(";")[0]
        begin += _after_spaces(phrase)
        yield Region(begin, begin + len(phrase.strip()), boxes, scores)


def _marked(walk: _Walk) -> Iterator[Region]:
    """cells2: [<phrase> words </phrase>] <object> pair (delimiter pair)* </object>.

    Anything else between <object> and </object> makes the whole object malformed.
    """
    marks, ids = walk.spec.marks, walk.ids
    for start, id_ in enumerate(ids):
        if id_ != marks["object"]:
            continue
        end = start + 1
        while end < len(ids) and (walk.is_place(ids[end]) or ids[end] == marks["delimiter"]):
            end += 1
        pairs = [(place, place + 2) for place in range(start + 1, end, 3)]
        whole = end < len(ids) and ids[end] == marks["end_object"] and end - start == 3 * len(pairs)
        divided = all(ids[b] == marks["delimiter"] for _, b in pairs[:-1]) if whole else False
        if not divided or not all(walk.is_place(ids[i]) for a, b in pairs for i in range(a, b)):
            walk.malformed += 1
            continue
        read = [walk.boxes(a, b) for a, b in pairs]
        boxes = tuple(box for found, _ in read for box in found)
        scores = tuple(score for _, found in read for score in found)
        if not boxes:
            continue
        span = _marked_phrase(walk, start)
        if span is None:  # each box is an object of its own
            place = walk.length(start)
            yield from (
                Region(place, place, (b,), (s,)) for b, s in zip(boxes, scores, strict=True)
            )
        else:
            yield Region(*span, boxes, scores)


def _marked_phrase(walk: _Walk, start: int) -> tuple[int, int] | None:
    """(start, end) of the phrase that ends just before ids[start]; None if there is none."""
    marks, ids = walk.spec.marks, walk.ids
    if start < 1 or ids[start - 1] != marks["end_phrase"]:
        return None
    opening = start - 2
    while (
        opening >= 0 and ids[opening] not in (*marks.values(),) and not walk.is_place(ids[opening])
    ):
        opening -= 1
    if opening < 0 or ids[opening] != marks["phrase"]:
        return None
    begin, end = walk.length(opening + 1), walk.length(start - 1)
    phrase = walk.text[begin:end]
    if not phrase:
        return None
    end = begin + len(phrase.rstrip())
    return min(begin + _after_spaces(phrase), end), end  # one of spaces alone is empty


def _stripped(reading: Reading) -> Reading:
    """The reading with surrounding spaces removed and regions shifted accordingly."""
    text = reading.text.strip()
    lead = _after_spaces(reading.text)

    def moved(place: int) -> int:
        return min(max(place - lead, 0), len(text))

    regions = [replace(r, start=moved(r.start), end=moved(r.end)) for r in reading.regions]
    return Reading(text, tuple(regions), reading.malformed)
