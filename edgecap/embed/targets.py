"""The targets of `edgecap embed`: one folder each, with a row `target.json` and a `template`.

A folder `edgecap/embed/<folder>` becomes a target by two things, and no code:

    target.json   the row: fields of Target, all needed
    template/     the project as it is written. A file `X.in` is written as `X`, with every @WORD@
                  replaced: NAME (of the bundle), FORMAT, VERSION (of edgecap), BUNDLE (its place in
                  the project), MIN_CONFIDENCE ("auto" with its quotes, null of a bundle without a
                  calibration), and the row's own words for the bundle's format.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from edgecap.core.typed import decode, read_json

ROW, TEMPLATE = "target.json", "template"


@dataclass(frozen=True)
class Copy:
    """Files of edgecap/embed that go into a project."""

    source: str  # a folder below edgecap/embed
    patterns: tuple[str, ...]  # such as *.c, or **/*.kt with the folders below
    without: tuple[str, ...]  # file names that match and stay out
    to: str  # a folder of the project


@dataclass(frozen=True)
class Target:
    """One kind of project."""

    name: str  # as `--target` takes it
    summary: str  # one sentence
    formats: tuple[str, ...]  # of bundles that run there
    bundle: str  # its place: a name that ends in .edgecap is one packed file, else a directory
    copies: tuple[Copy, ...]
    runtime: str | None  # where the Python runtime goes (runtime_files.py); null: nowhere
    next: str  # the command that builds or runs the project, in its directory
    words: dict[str, dict[str, str]]  # format -> word -> its text


def embed_folder() -> Path:
    """The directory of this package, whose folders hold templates and shims."""
    return Path(str(resources.files("edgecap.embed")))


@cache
def targets() -> dict[str, tuple[Target, Path]]:
    """Name -> (row, its folder), by name."""
    rows = {}
    for file in embed_folder().glob(f"*/{ROW}"):
        row = decode(Target, read_json(file, f"{file.parent.name}/{ROW}"), ROW)
        rows[row.name] = (row, file.parent)
    return dict(sorted(rows.items()))
