"""A Hugging Face imagefolder: images beside metadata.jsonl or metadata.csv, whose rows have
`file_name` and a caption under `text` or `caption`. Other columns are ignored, by its
convention (huggingface.co/docs/datasets/image_dataset). An optional `lang` selects rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgecap.core.errors import InputError
from edgecap.reference.train.pairs.pair import (
    Pair,
    bad_row,
    caption,
    image_file,
    others,
    rows,
    text_of,
)
from edgecap.runtime.preprocess import SUFFIXES

_NAME, _CAPTIONS, _LANGUAGE = "file_name", ("text", "caption"), "lang"


def read_jsonl(file: Path, root: Path, lang: str) -> list[Pair]:
    """The captions of metadata.jsonl; InputError as of `read_pairs`."""
    return _pairs(file, root, lang, rows(file))


def read_csv(file: Path, root: Path, lang: str) -> list[Pair]:
    """The captions of metadata.csv; InputError as of `read_pairs`."""
    reader = csv.DictReader(io.StringIO(text_of(file)), strict=True)
    try:
        header = reader.fieldnames or []
    except csv.Error as error:
        raise bad_row(f"{file}:{reader.line_num}", f"is no CSV: {error}") from None
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
            raise bad_row(f"{file}:{reader.line_num}", f"is no CSV: {error}") from None

    return _pairs(file, root, lang, numbered())


def _pairs(
    file: Path, root: Path, lang: str, found: Iterable[tuple[str, dict[str, Any]]]
) -> list[Pair]:
    pairs, skipped, named = [], [], set()
    for where, row in found:
        keys = [key for key in _CAPTIONS if key in row]
        if len(keys) > 1:
            raise bad_row(where, "has both a 'text' and a 'caption'")
        path = image_file(where, root, row.get(_NAME))
        named.add(path.resolve())
        if row.get(_LANGUAGE, lang) != lang:
            skipped.append(str(row[_LANGUAGE]))
            continue
        text = caption(where, row[keys[0]] if keys else None)
        pairs.append(Pair(path, text, where=where))
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
