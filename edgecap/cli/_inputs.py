"""Images that a command is given: files, directories of them, or one on standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from edgecap.core.errors import InputError
from edgecap.core.printable import printable

STANDARD_INPUT = "-"


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
    from edgecap.runtime.folders import scan
    from edgecap.runtime.preprocess import SUFFIXES

    if list(given).count(STANDARD_INPUT) > 1:
        raise InputError("image.stdin", "standard input holds one image, and - stands twice.")
    found: list[GivenImage] = []
    for name in given:
        path = Path(name)
        if not path.is_dir():
            found.append(one_image(name))
            continue
        inside = scan(path)
        passed_over = inside.summary()
        if not inside.images:
            raise InputError(
                "image.none",
                f"{path} holds no images{f' ({passed_over})' if passed_over else ''}.",
                f"File name endings: {' '.join(sorted(SUFFIXES))}",
            )
        if passed_over:
            typer.echo(f"edgecap: {printable(name)}: {printable(passed_over)}", err=True)
        found += [GivenImage(str(path / one), path / one) for one in inside.images]
    return found


def report_failure(image: GivenImage, error: InputError) -> dict[str, Any]:
    """Say on standard error what is wrong with one image among others; its row for --json."""
    typer.echo(f"edgecap: {printable(str(error))}", err=True)
    return {"image": image.name, "error": {"code": error.code, "text": error.message}}
