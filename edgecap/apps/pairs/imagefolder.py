"""A Hugging Face imagefolder: images beside metadata.jsonl or metadata.csv, whose rows have
`file_name` and a caption under `text` or `caption`; or, in JSONL, several under `captions`, and
`regions`. Other columns are ignored, by its convention
(huggingface.co/docs/datasets/image_dataset). An optional `lang` selects rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgecap.apps.pairs.pair import (
    Pair,
    bad_row,
    captions,
    image_file,
    others,
    regions,
    rows,
    text_of,
)
from edgecap.core.errors import InputError
from edgecap.runtime.preprocess import SUFFIXES

_NAME, _CAPTIONS, _LANGUAGE = "file_name", ("text", "caption"), "lang"
_EVERY = (*_CAPTIONS, "captions")


def read_jsonl(file: Path, root: Path, lang: str) -> list[Pair]:
    """The captions of metadata.jsonl; InputError as of `read_pairs`."""
    return _pairs(file, root, lang, rows(file))


def read_csv(file: Path, root: Path, lang: str) -> list[Pair]:
    """The captions of metadata.csv; InputError as of `read_pairs`."""
    reader = csv.DictReader(io.StringIO(text_of(file)), strict=True)
    try:
        header = reader.fieldnames or []
    except csv.Error as error:
        raise bad_row(f"{file}:{reader.line_num}", f"is not CSV: {error}") from None
    if _NAME not in header or not set(header) & set(_CAPTIONS):
        raise bad_row(f"{file}:1", f"has no columns {_NAME} and {' or '.join(_CAPTIONS)}")

    def numbered() -> Iterable[tuple[str, dict[str, Any]]]:
        try:
            for row in reader:
                where = f"{file}:{reader.line_num}"
                if None in row or None in row.values():
                    raise bad_row(where, f"does not have {len(header)} cells")
                yield where, row
        except csv.Error as error:
            raise bad_row(f"{file}:{reader.line_num}", f"is not CSV: {error}") from None

    return _pairs(file, root, lang, numbered())


def _pairs(
    file: Path, root: Path, lang: str, found: Iterable[tuple[str, dict[str, Any]]]
) -> list[Pair]:
    pairs, skipped, named = [], [], set()
    for where, row in found:
        keys = [key for key in _EVERY if key in row]
        if len(keys) > 1:
            raise bad_row(where, f"has both {keys[0]!r} and {keys[1]!r}")
        path = image_file(where, root, row.get(_NAME))
        named.add(path.resolve())
        if row.get(_LANGUAGE, lang) != lang:
            skipped.append(str(row[_LANGUAGE]))
            continue
        first, *more = captions(where, row, _CAPTIONS)
        boxed = regions(where, row.get("regions", []))
        pairs.append(Pair(path, first, where=where, regions=boxed))
        pairs += [Pair(path, text, where=where) for text in more]
    if skipped and not pairs:
        raise InputError("pairs.language", f"{file} holds {others(skipped, lang)}.")
    present = [p for p in sorted(file.parent.rglob("*")) if p.suffix.lower() in SUFFIXES]
    silent = [path for path in present if path.resolve() not in named]
    if silent:
        raise InputError(
            "pairs.silent",
            f"{file} has no caption for {len(silent)} of {len(present)} images beside it, the "
            f"first of which is {silent[0].name}.",
            "Add their rows, or move them away.",
        )
    return pairs
