"""Rows of many images, kept as they come: a file of JSON lines, or a directory of Parquet parts.

A run that was killed leaves whole rows, but for a line that broke off, which the next run removes.
A row is a dict with the key `image`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from edgecap.core.atomic import make_directory, write_file
from edgecap.core.errors import InputError
from edgecap.core.lazy import require

Row = dict[str, Any]
PART_ROWS = 1024  # of a Parquet part, which is written as a whole
_PART = "part-{:05d}.parquet"
# Columns of a Parquet part: these of a row, and the whole row as JSON.
_COLUMNS = ("image", "text", "lang", "style", "score", "confidence", "declined", "complete")


def done_lines(file: Path) -> set[str]:
    """The images that have a row in a file of JSON lines; removes a last line that broke off.

    InputError for a file that is none of ours.
    """
    if not file.exists():
        return set()
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
        names = {row["image"] for row in rows}
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "output.foreign",
            f"{file} holds lines that are no rows of images; it was not changed.",
            "Choose another file, or leave --resume out to replace it.",
        ) from None
    if len(whole) < len(data):
        write_file(file, whole)
    return names


@contextmanager
def lines(file: Path, resume: bool) -> Iterator[Callable[[Row], None]]:
    """A function that writes a row at once, behind those that are there if `resume`."""
    with file.open("a" if resume else "w", encoding="utf-8") as opened:

        def write(row: Row) -> None:
            text = json.dumps(row, ensure_ascii=False)
            opened.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
            opened.flush()

        yield write


def done_parts(directory: Path) -> set[str]:
    """The images that have a row in the parts of a directory; InputError for a foreign one."""
    parquet = require("pyarrow.parquet", "ray")
    names: set[str] = set()
    for part in _parts(directory):
        try:
            names.update(parquet.read_table(part, columns=["image"])["image"].to_pylist())
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise InputError("output.foreign", f"{part} is no part of ours: {reason}.") from None
    return names


@contextmanager
def parts(directory: Path, resume: bool) -> Iterator[Callable[[Row], None]]:
    """A function that keeps a row, and writes PART_ROWS of them as one part, the rest at the end.

    InputError where the directory holds anything and `resume` is not set.
    """
    arrow, parquet = require("pyarrow", "ray"), require("pyarrow.parquet", "ray")
    if directory.exists() and any(directory.iterdir()) and not resume:
        raise InputError(
            "output.exists",
            f"{directory} is not empty; it was not changed.",
            "Go on with it by --resume, or choose another directory.",
        )
    make_directory(directory)
    waiting: list[Row] = []
    number = len(_parts(directory))

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
        sink = arrow.BufferOutputStream()
        parquet.write_table(arrow.table(columns, schema), sink)
        write_file(directory / _PART.format(number), sink.getvalue().to_pybytes())
        number += 1
        waiting.clear()

    def write(row: Row) -> None:
        waiting.append(row)
        if len(waiting) == PART_ROWS:
            flush()

    try:
        yield write
    finally:  # whatever ends the run, what is done is kept
        flush()


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
