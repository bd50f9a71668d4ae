"""Image-caption pairs from common file formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgecap.apps.pairs import coco, imagefolder, jsonl
from edgecap.apps.pairs.pair import Pair, Region, Span
from edgecap.core.errors import InputError

__all__ = ["Pair", "Region", "Span", "read_pairs"]

# Name in a directory -> its reader. The captions of `edgecap scenes` are the first.
_IN_DIRECTORY: dict[str, Callable[[Path, Path, str], list[Pair]]] = {
    "captions.jsonl": jsonl.read,
    "metadata.jsonl": imagefolder.read_jsonl,
    "metadata.csv": imagefolder.read_csv,
}


def read_pairs(data: Path, lang: str, images: Path | None = None) -> list[Pair]:
    """The images of `data` that have captions in `lang`; no image is opened.

    Args:
        data: COCO captions (.json), JSONL, or a directory: one that `edgecap scenes` wrote, or a
            Hugging Face imagefolder with metadata.jsonl or metadata.csv.
        lang: rows of another language are skipped; rows without a language are of this one.
        images: root folder of the image names; by default the folder of the file.

    Raises:
        InputError, code pairs.*, with file and line of the first invalid row.
    """
    if not data.exists():
        raise InputError("pairs.missing", f"{data} does not exist.")
    file = _file_of(data) if data.is_dir() else data
    root = images or file.parent
    if not root.is_dir():
        raise InputError("pairs.images", f"{root} is not a directory of images.")
    if file.name in _IN_DIRECTORY:
        read = _IN_DIRECTORY[file.name]
    elif file.suffix == ".json":
        read = coco.read
    elif file.suffix == ".jsonl":
        read = jsonl.read
    else:
        raise InputError(
            "pairs.format",
            f"{file} is neither .json (COCO captions) nor .jsonl.",
            'Write one line per image: {"image": "a.jpg", "caption": "…"}',
        )
    pairs = read(file, root, lang)
    if not pairs:
        raise InputError("pairs.empty", f"{file} holds no captions in {lang!r}.")
    return pairs


def _file_of(directory: Path) -> Path:
    found = [directory / name for name in _IN_DIRECTORY if (directory / name).is_file()]
    if len(found) == 1:
        return found[0]
    what = "several of" if found else "none of"
    raise InputError(
        "pairs.directory",
        f"{directory} holds {what} {', '.join(_IN_DIRECTORY)}.",
        "Name the file with the captions.",
    )
