"""Images that a command is given: files, directories of them, or one on standard input."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from edgecap.core.errors import InputError
from edgecap.core.printable import printable

STANDARD_INPUT = "-"
_NAMED_ENDINGS = 4  # of the files passed over


@dataclass(frozen=True)
class GivenImage:
    """An image as it was named, and where to take it from."""

    name: str
    source: Path | bytes

    @property
    def path(self) -> Path | None:
        """Its file; None for standard input."""
        return self.source if isinstance(self.source, Path) else None


def one_image(given: str) -> GivenImage:
    """An image file, or standard input; InputError for what can be neither."""
    if given == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(
                "image.stdin",
                "- reads an image from standard input, and nothing is piped in.",
                "Write: cat photo.jpg | edgecap caption -",
            )
        return GivenImage(given, sys.stdin.buffer.read())
    scheme, separator, _ = given.partition("://")
    if separator and scheme.isalpha():
        raise InputError(
            "image.url",
            f"{given} is a URL, and edgecap reads files.",
            f"Write: curl -sL {given} | edgecap caption -",
        )
    if any(c in given for c in "*?[") and not os.path.lexists(given):
        raise InputError(
            "image.missing",
            f"{given} does not exist.",
            "A pattern without quotes is expanded by the shell; or give the directory.",
        )
    return GivenImage(given, Path(given))


def all_images(given: Sequence[str]) -> list[GivenImage]:
    """The images given, and for a directory those below it that look like images, by name.

    Files of a directory that do not look like images are counted on standard error. InputError for
    a directory that cannot be read or holds no images, and for standard input given twice.
    """
    from edgecap.runtime.folders import walk

    if list(given).count(STANDARD_INPUT) > 1:
        raise InputError("image.stdin", "standard input holds one image, and - stands twice.")
    found: list[GivenImage] = []
    for name in given:
        path = Path(name)
        if not path.is_dir():
            found.append(one_image(name))
            continue
        names = walk(path)
        passed_over = _others(path)
        if not names:
            _refuse_empty(path, passed_over)
        if passed_over:
            typer.echo(f"edgecap: {printable(name)}: {_summary(passed_over)}", err=True)
        found += [GivenImage(str(path / one), path / one) for one in names]
    return found


def report_failure(image: GivenImage, error: InputError) -> dict[str, Any]:
    """Say on standard error what is wrong with one image among others; its row for --json."""
    typer.echo(f"edgecap: {printable(str(error))}", err=True)
    return {"image": image.name, "error": {"code": error.code, "text": error.message}}


def _refuse_empty(folder: Path, passed_over: Counter[str]) -> None:
    from edgecap.runtime.preprocess import SUFFIXES

    others = f" ({_summary(passed_over)})" if passed_over else ""
    raise InputError(
        "image.none",
        f"{folder} holds no images{others}.",
        f"File name endings: {' '.join(sorted(SUFFIXES))}",
    )


def _others(folder: Path) -> Counter[str]:
    """How many files below a folder are not named like images, by their ending."""
    from edgecap.runtime.preprocess import SUFFIXES

    return Counter(ending for ending in _endings(folder) if ending not in SUFFIXES)


def _endings(folder: Path) -> Iterator[str]:
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield os.path.splitext(name)[1].lower() or "no ending"


def _summary(passed_over: Counter[str]) -> str:
    """ "3 files passed over: 2 .heic, 1 .pdf"."""
    total = sum(passed_over.values())
    kinds = [f"{number} {ending}" for ending, number in passed_over.most_common(_NAMED_ENDINGS)]
    if len(passed_over) > _NAMED_ENDINGS:
        kinds.append("…")
    text = f"{total} file{'s' if total > 1 else ''} passed over: {', '.join(kinds)}"
    if ".heic" in passed_over or ".heif" in passed_over:
        text += "; convert HEIC to JPEG first"
    return text
