"""Rows of many images, kept as they come: a file of JSON lines, or a directory of Parquet parts.

A run that was killed leaves whole rows, but for a line that broke off, which the next run removes.
A row is a dict with the key `image`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from edgecap.core.atomic import make_directory, write_file
from edgecap.core.errors import InputError
from edgecap.core.lazy import require
from edgecap.core.lines import line_file
from edgecap.core.locks import open_locked

Row = dict[str, Any]
PART_ROWS = 1024  # of a Parquet part, which is written as a whole
_PART = "part-{:05d}.parquet"
# Columns of a Parquet part: these of a row, and the whole row as JSON.
_COLUMNS = ("image", "text", "lang", "style", "score", "confidence", "declined", "complete")


def done_lines(file: Path) -> set[str]:
    """The images that are captioned in a file of JSON lines.

    Removes a last line that broke off, and the rows of images that could not be read: these are
    tried again. InputError for a file that is none of ours, and one that another run is writing.
    """
    if not file.exists():
        return set()
    with line_file(file, keep=True):
        data = file.read_bytes()
        found = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        try:
            rows = [json.loads(line) for line in found]
            names = {row["image"] for row in rows if "error" not in row}
        except (ValueError, KeyError, TypeError):
            raise InputError(
                "output.foreign",
                f"{file} holds lines that are not rows of images; it was not changed.",
                "Choose another file, or leave --resume out to replace it.",
            ) from None
        kept = [line for line, row in zip(found, rows, strict=True) if "error" not in row]
        if (whole := b"".join(kept)) != data:
            write_file(file, whole)
    return names


@contextmanager
def lines(file: Path, resume: bool) -> Iterator[Callable[[Row], None]]:
    """A function that writes a row at once, behind those that are there if `resume`.

    Errors as of `line_file`.
    """
    with line_file(file, keep=resume) as write:
        yield lambda row: write(json.dumps(row, ensure_ascii=False))


def done_parts(directory: Path) -> set[str]:
    """The images that are captioned in the parts of a directory.

    Removes the rows of images that could not be read: these are tried again. InputError for a
    foreign directory, and for one that another run is writing.
    """
    if not directory.is_dir():
        return set()
    with _locked(directory):
        return _tidied(directory)


def _tidied(directory: Path) -> set[str]:
    parquet = require("pyarrow.parquet", "ray")
    names: set[str] = set()
    for part in _parts(directory):
        try:
            table = parquet.read_table(part)
            kept = table.filter(table["error"].is_null())
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                "output.foreign", f"{part} is not a part that edgecap wrote: {reason}."
            ) from None
        if kept.num_rows < table.num_rows:
            write_file(part, _part_bytes(kept))
        names.update(kept["image"].to_pylist())
    return names


@contextmanager
def parts(directory: Path, resume: bool) -> Iterator[Callable[[Row], None]]:
    """A function that keeps a row, and writes PART_ROWS of them as one part, the rest at the end.

    InputError where the directory holds anything and `resume` is not set, and where another run is
    writing it.
    """
    arrow = require("pyarrow", "ray")
    if directory.exists() and any(directory.iterdir()) and not resume:
        raise InputError(
            "output.exists",
            f"{directory} is not empty; it was not changed.",
            "Go on with it by --resume, or choose another directory.",
        )
    make_directory(directory)
    waiting: list[Row] = []
    number = 0

    def flush() -> None:
        nonlocal number
        if not waiting:
            return
        columns = {name: [row.get(name) for row in waiting] for name in _COLUMNS}
        columns["error"] = [row.get("error", {}).get("code") for row in waiting]
        columns["row"] = [json.dumps(row) for row in waiting]
        types = {"score": arrow.float64(), "confidence": arrow.float64()}
        types |= {"declined": arrow.bool_(), "complete": arrow.bool_()}
        schema = arrow.schema([(name, types.get(name, arrow.string())) for name in columns])
        write_file(directory / _PART.format(number), _part_bytes(arrow.table(columns, schema)))
        number += 1
        waiting.clear()

    def write(row: Row) -> None:
        waiting.append(row)
        if len(waiting) == PART_ROWS:
            flush()

    with _locked(directory):
        number = len(_parts(directory))
        try:
            yield write
        finally:  # whatever ends the run, what is done is kept
            flush()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = open_locked(directory.resolve())
    if descriptor is None:
        raise InputError(
            "output.busy",
            f"another run is writing {directory}.",
            "Wait for it, or choose another directory.",
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _part_bytes(table: Any) -> bytes:
    sink = require("pyarrow", "ray").BufferOutputStream()
    require("pyarrow.parquet", "ray").write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _parts(directory: Path) -> list[Path]:
    return sorted(directory.glob("part-*.parquet")) if directory.is_dir() else []


def open_store(
    file: Path | None, directory: Path | None, resume: bool
) -> tuple[set[str], AbstractContextManager[Callable[[Row], None]]]:
    """(images that are done, the writer) of the one of `file` and `directory` that is given."""
    if directory is not None:
        return (done_parts(directory) if resume else set()), parts(directory, resume)
    assert file is not None
    return (done_lines(file) if resume else set()), lines(file, resume)
