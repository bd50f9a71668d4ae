"""An image-caption pair, and how rows of a file are parsed into pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecap.core.errors import InputError

Box = tuple[float, float, float, float]
LOCATION = re.compile(r"<loc_(\d+)>")


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of a caption that name something, and its boxes."""

    start: int
    end: int
    boxes: tuple[Box, ...]  # x0 y0 x1 y1, px of the image


@dataclass(frozen=True)
class Region:
    """Something in an image, named or not, that no words of the caption are tied to."""

    phrase: str  # empty: not named
    box: Box


@dataclass(frozen=True)
class Pair:
    """An image and one caption."""

    image: Path
    caption: str
    spans: tuple[Span, ...] = ()
    grounded: str = ""  # the caption with location tokens of the model input, or empty
    where: str = ""  # file and line, for messages
    regions: tuple[Region, ...] = ()  # of the image; in the first pair of a row


def rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a file with one per line, and their positions; blank lines count."""
    for number, line in enumerate(text_of(file).split("\n"), 1):
        where = f"{file}:{number}"
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise bad_row(where, f"is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise bad_row(where, "is not a JSON object")
        yield where, value


def text_of(file: Path) -> str:
    """The whole of a UTF-8 file."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise bad_row(f"{file}:{line}", "is not UTF-8") from None
    except OSError as error:
        raise InputError("pairs.missing", f"{file} cannot be read: {error.strerror}.") from None


def image_file(where: str, root: Path, name: Any) -> Path:
    """The path of the image `name`, which must exist."""
    if not isinstance(name, str) or not name.strip():
        raise bad_row(where, "names no image")
    path = root / name
    if not path.is_file():
        raise bad_row(where, f"names an image that does not exist, {path}")
    return path


def caption(where: str, value: Any) -> str:
    """A caption without surrounding space; it must not be empty or contain location tokens."""
    if not isinstance(value, str) or not value.strip():
        raise bad_row(where, "has no caption")
    if LOCATION.search(value):
        raise bad_row(where, "has location tokens in its caption; those belong under 'grounded'")
    return " ".join(value.split())


def captions(where: str, row: dict[str, Any], names: Sequence[str]) -> list[str]:
    """The captions of a row: under one of `names`, or a list of them under "captions"."""
    if "captions" not in row:
        key = next((name for name in names if name in row), names[0])
        return [caption(where, row.get(key))]
    listed = row["captions"]
    if not isinstance(listed, list) or not listed:
        raise bad_row(where, "has 'captions' that are not a list of texts")
    return [caption(where, one) for one in listed]


def regions(where: str, value: Any) -> tuple[Region, ...]:
    """The regions of an image: [{"phrase": "a dog", "box": [x0, y0, x1, y1]}]."""
    if not isinstance(value, list):
        raise bad_row(where, "has 'regions' that are not a list")
    found = []
    for item in value:
        if not isinstance(item, dict) or not {"box"} <= set(item) <= {"phrase", "box"}:
            raise bad_row(where, "has a region without exactly phrase and box")
        phrase = item.get("phrase", "")
        if not isinstance(phrase, str):
            raise bad_row(where, "has a region whose phrase is not text")
        found.append(Region(phrase, _box(where, item["box"])))
    return tuple(found)


def grounded(where: str, text: str, value: Any) -> str:
    """A caption with location tokens, four to a box; without them it must equal `text`."""
    located = " ".join(value.split()) if isinstance(value, str) else ""
    if " ".join(LOCATION.sub("", located).split()) != text:
        raise bad_row(where, "has a 'grounded' whose words are not those of the caption")
    runs = re.findall(r"(?:<loc_\d+>)+", located)
    for run in runs:
        bins = [int(digits) for digits in LOCATION.findall(run)]
        boxes = [bins[i : i + 4] for i in range(0, len(bins), 4)]
        if not all(len(b) == 4 and b[0] < b[2] and b[1] < b[3] for b in boxes):
            raise bad_row(where, f"has no boxes in {run[:60]}")
    return located


def spans(where: str, text: str, written: Any, value: Any) -> tuple[Span, ...]:
    """The spans of a caption: in order, not overlapping, each with boxes.

    Offsets refer to the caption as `written`, which must equal the normalised `text`.
    """
    if not isinstance(value, list):
        raise bad_row(where, "has 'spans' that are not a list")
    if value and written != text:
        raise bad_row(where, "has spans, and surrounding or repeated spaces in its caption")
    found: list[Span] = []
    for item in value:
        if not isinstance(item, dict) or set(item) != {"start", "end", "boxes"}:
            raise bad_row(where, "has a span without exactly start, end and boxes")
        start, end = item["start"], item["end"]
        before = found[-1].end if found else 0
        if type(start) is not int or type(end) is not int or not before <= start < end <= len(text):
            raise bad_row(where, f"has a span {start}-{end}, outside the caption or out of order")
        boxes = item["boxes"]
        if not isinstance(boxes, list) or not boxes:
            raise bad_row(where, f"has no boxes for {text[start:end]!r}")
        found.append(Span(start, end, tuple(_box(where, box) for box in boxes)))
    return tuple(found)


def _box(where: str, value: Any) -> Box:
    numbers = isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
    if not numbers or not 0 <= value[0] < value[2] or not 0 <= value[1] < value[3]:
        raise bad_row(where, f"has a box {value}; x0 < x1 and y0 < y1 in px are needed")
    x0, y0, x1, y1 = map(float, value)
    return x0, y0, x1, y1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e6


def bad_row(where: str, what: str) -> InputError:
    """The error of a row: `where` names file and line."""
    return InputError("pairs.row", f"{where} {what}.")


def others(found: Sequence[str], wanted: str) -> str:
    """The message where all rows are in other languages."""
    known = ", ".join(sorted(set(found)))
    return f"no captions in {wanted!r}, only in {known}"
