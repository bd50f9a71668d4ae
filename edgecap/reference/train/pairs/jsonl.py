"""JSONL, one caption per line, as `edgecap scenes` writes it, and easy to write by hand.

    {"image": "a.jpg", "caption": "A dog and a cat."}
    {"image": "a.jpg", "caption": "A dog.", "lang": "en",
     "spans": [{"start": 0, "end": 5, "boxes": [[10, 20, 80, 90]]}]}
    {"image": "a.png", "text": "A dog.", "lang": "en", "grounded": "A dog<loc_02>…."}

`text` is another name of `caption`. Boxes are x0 y0 x1 y1 in px of the image; `grounded` has
location tokens of the model input instead. Other fields are refused, as they may be misspelt.
"""

from __future__ import annotations

from pathlib import Path

from edgecap.core.errors import InputError
from edgecap.reference.train.pairs.pair import (
    Pair,
    bad_row,
    caption,
    grounded,
    image_file,
    others,
    rows,
    spans,
)

_FIELDS = {"image", "caption", "text", "lang", "spans", "grounded"}


def read(file: Path, root: Path, lang: str) -> list[Pair]:
    """The captions in `lang`; InputError as of `read_pairs`."""
    pairs, skipped = [], []
    for where, row in rows(file):
        unknown = row.keys() - _FIELDS
        if unknown:
            raise bad_row(where, f"has {min(unknown)!r}; known are {', '.join(sorted(_FIELDS))}")
        if {"caption", "text"} <= row.keys() or {"spans", "grounded"} <= row.keys():
            raise bad_row(
                where, "has two of the alternative fields (caption or text, spans or grounded)"
            )
        if not isinstance(row.get("lang", lang), str):
            raise bad_row(where, "has a 'lang' that is no text")
        if row.get("lang", lang) != lang:
            skipped.append(row["lang"])
            continue
        written = row.get("caption", row.get("text"))
        text = caption(where, written)
        pairs.append(
            Pair(
                image_file(where, root, row.get("image")),
                text,
                spans(where, text, written, row.get("spans", [])),
                grounded(where, text, row["grounded"]) if "grounded" in row else "",
                where,
            )
        )
    if skipped and not pairs:
        raise InputError("pairs.language", f"{file} holds {others(skipped, lang)}.")
    return pairs
