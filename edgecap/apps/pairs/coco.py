"""COCO captions: one JSON document with `images` (id, file_name) and `annotations` (image_id,
caption), as of cocodataset.org. Other fields are ignored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgecap.apps.pairs.pair import Pair, bad_row, caption, image_file, text_of
from edgecap.core.errors import InputError


def read(file: Path, root: Path, lang: str) -> list[Pair]:
    """All captions, in the file's order; the format names no language, so they are in `lang`."""
    document = _document(file)
    names: dict[Any, Any] = {}
    for i, entry in enumerate(_list(file, document, "images")):
        key = entry.get("id")
        if type(key) not in (int, str) or key in names:
            raise bad_row(f"{file}: images[{i}]", f"has no id of its own ({key!r})")
        names[key] = entry.get("file_name")
    pairs: list[Pair] = []
    described = set()
    annotations = _list(file, document, "annotations")
    if annotations and not any("caption" in annotation for annotation in annotations):
        raise InputError(
            "pairs.detections",
            f"{file} holds boxes and no captions.",
            "Give the captions; edgecap scenes writes them beside it, as captions.jsonl.",
        )
    for i, annotation in enumerate(annotations):
        where = f"{file}: annotations[{i}]"
        key = annotation.get("image_id")
        if type(key) not in (int, str) or key not in names:
            raise bad_row(where, f"has image_id {key!r}, which is not in images")
        described.add(key)
        text = caption(where, annotation.get("caption"))
        pairs.append(Pair(image_file(where, root, names[key]), text, where=where))
    silent = [key for key in names if key not in described]
    if silent:
        raise InputError(
            "pairs.silent",
            f"{file} has no caption for {len(silent)} of {len(names)} images, the first of which "
            f"is {names[silent[0]]}.",
            "Take them out of images, or caption them.",
        )
    return pairs


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(text_of(file))
    except json.JSONDecodeError as error:
        raise bad_row(f"{file}:{error.lineno}", f"is not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # too many digits, too deep
        raise bad_row(str(file), f"is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError("pairs.format", f"{file} is not a COCO document: it holds no object.")
    return document


def _list(file: Path, document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError("pairs.format", f"{file} is not a COCO document: it has no list {name!r}.")
    return value
