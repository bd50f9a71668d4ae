"""JSONL, one caption per line, as `edgecap scenes` writes it, and easy to write by hand.

    {"image": "a.jpg", "caption": "A dog and a cat."}
    {"image": "a.jpg", "caption": "A dog.", "lang": "en",
     "spans": [{"start": 0, "end": 5, "boxes": [[10, 20, 80, 90]]}]}
    {"image": "a.png", "text": "A dog.", "lang": "en", "grounded": "A dog<loc_02>…."}
    {"image": "a.jpg", "captions": ["A dog.", "A pet."],
     "regions": [{"phrase": "a dog", "box": [10, 20, 80, 90]}]}

`text` is another name of `caption`. Boxes are x0 y0 x1 y1 in px of the image; `grounded` has
location tokens of the model input instead. Other fields are refused, as they may be misspelt.
"""

from __future__ import annotations

from pathlib import Path

from edgecap.apps.pairs.pair import (
    Pair,
    bad_row,
    captions,
    grounded,
    image_file,
    others,
    regions,
    rows,
    spans,
)
from edgecap.core.errors import InputError

_FIELDS = {"image", "caption", "text", "captions", "lang", "spans", "grounded", "regions"}
_ALTERNATIVES = (("caption", "text", "captions"), ("spans", "grounded", "captions"))


def read(file: Path, root: Path, lang: str) -> list[Pair]:
    """The captions in `lang`; InputError as of `read_pairs`."""
    pairs, skipped = [], []
    for where, row in rows(file):
        unknown = row.keys() - _FIELDS
        if unknown:
            raise bad_row(where, f"has {min(unknown)!r}; known are {', '.join(sorted(_FIELDS))}")
        if any(sum(name in row for name in names) > 1 for names in _ALTERNATIVES):
            raise bad_row(
                where,
                "has two of the alternative fields (caption, text or captions; one caption has "
                "spans or grounded)",
            )
        if not isinstance(row.get("lang", lang), str):
            raise bad_row(where, "has a 'lang' that is not text")
        if row.get("lang", lang) != lang:
            skipped.append(row["lang"])
            continue
        first, *more = captions(where, row, ("caption", "text"))
        written = row.get("caption", row.get("text"))
        image = image_file(where, root, row.get("image"))
        pairs.append(
            Pair(
                image,
                first,
                spans(where, first, written, row.get("spans", [])),
                grounded(where, first, row["grounded"]) if "grounded" in row else "",
                where,
                regions(where, row.get("regions", [])),
            )
        )
        pairs += [Pair(image, text, where=where) for text in more]
    if skipped and not pairs:
        raise InputError("pairs.language", f"{file} holds {others(skipped, lang)}.")
    return pairs
