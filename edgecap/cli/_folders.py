"""Images that are given one by one or as folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from edgecap.core.errors import InputError


def all_images(given: Sequence[Path]) -> list[Path]:
    """The files given, and for a directory those below it that look like images, by name.

    InputError for a directory that cannot be read or holds none.
    """
    from edgecap.runtime.folders import walk
    from edgecap.runtime.preprocess import SUFFIXES

    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        names = walk(path)
        if not names:
            raise InputError(
                "image.none",
                f"{path} holds no images.",
                f"Endings that are looked for: {' '.join(sorted(SUFFIXES))}",
            )
        found += [path / name for name in names]
    return found


def told_failure(image: Path, error: InputError) -> dict[str, Any]:
    """Tell the error of one image among others on standard error; its row for --json."""
    typer.echo(f"edgecap: {error}", err=True)
    return {"image": str(image), "error": {"code": error.code, "text": error.message}}
