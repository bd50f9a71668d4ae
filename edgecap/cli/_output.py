"""Results that go to a file or to the standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecap.core.atomic import write_file
from edgecap.core.errors import InputError
from edgecap.core.lines import line_file

STANDARD_OUTPUT = "-"


def check_destinations(*destinations: str | None) -> None:
    """Refuse, before any work is done, files that cannot be written; InputError.

    Also refuses two that are one.
    """
    named = [one for one in destinations if one is not None]
    places = [one if one == STANDARD_OUTPUT else os.path.realpath(one) for one in named]
    for one, place in zip(named, places, strict=True):
        if places.count(place) > 1:
            shown = "standard output" if one == STANDARD_OUTPUT else one
            raise InputError("output.twice", f"only one kind of output can go to {shown}.")
    for destination in destinations:
        if destination is None or destination == STANDARD_OUTPUT:
            continue
        path = Path(destination)
        # A file is replaced by a finished one, which lies beside it until then.
        touched = [path] if path.exists() else []
        touched += [path.resolve().parent] if path.is_file() or not path.exists() else []
        if path.is_dir() or not all(os.access(place, os.W_OK) for place in touched):
            raise InputError(
                "output.unwritable",
                f"{path} cannot be written.",
                "Name a file in a directory that exists and may be written.",
            )


def refuse_inside(destination: str | None, directory: Path) -> None:
    """InputError for a file that would lie in `directory`, or where that will be."""
    if destination is None or destination == STANDARD_OUTPUT:
        return
    place = Path(destination).resolve()
    if place.is_relative_to(directory.resolve()):
        raise InputError(
            "output.inside",
            f"{destination} lies in {directory}, which holds this command's output and no more.",
            "Name a file beside it.",
        )


def _checked(destination: str | None) -> str | None:
    check_destinations(destination)
    return destination


def destination_option(name: str, text: str) -> Any:
    """An option that takes a file, or - for standard output."""
    return typer.Option(name, metavar="FILE", help=text, callback=_checked)


Json = Annotated[
    str | None, destination_option("--json", "Write JSON to a file, or to standard output (-).")
]


def as_json(value: Any, indent: int | None = 1) -> str:
    """Plain data; a file's name that is not Unicode is escaped, so that it can be encoded."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(text: str, destination: str | None) -> None:
    """In UTF-8 to standard output for "-", to a file, or nowhere for None."""
    if destination is None:
        return
    if destination == STANDARD_OUTPUT:
        _to_standard_output(text)
        return
    write_file(Path(destination), text.encode("utf-8"))


def write_json(value: Any, destination: str | None) -> None:
    """The same for plain data."""
    if destination is not None:
        write_text(as_json(value) + "\n", destination)


@contextmanager
def json_lines(destination: str | None) -> Iterator[Callable[[Any], None]]:
    """Give a function that writes a line of JSON at once, to a file or to standard output.

    Errors as of `line_file`.
    """
    if destination is None or destination == STANDARD_OUTPUT:
        yield lambda row: write_text(as_json(row, indent=None) + "\n", destination)
        return
    with line_file(Path(destination), keep=False) as write:
        yield lambda row: write(as_json(row, indent=None))


def _to_standard_output(text: str) -> None:
    """UTF-8 whatever the terminal's encoding is: programs read it (RFC 8259)."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()
