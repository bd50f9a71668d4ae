"""Rows of finished work, a JSON line each, so that an interrupted sweep goes on where it stopped.

A directory holds `NAME.jsonl` per ablation. Rows are found by their key in all of them: an arm that
two ablations share is trained once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from edgecap.benchmarks.reference.ablations.experiment import Row
from edgecap.core.atomic import write_file
from edgecap.core.errors import InputError


class Store:
    """The rows of one ablation in a directory, which is made."""

    def __init__(self, directory: Path, name: str) -> None:
        """InputError where the directory cannot be written or a file of rows cannot be read."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                "output.unwritable",
                f"{directory} cannot be written: {error.strerror}.",
                "Choose another directory with --out.",
            ) from None
        self.path = directory / f"{name}.jsonl"
        self._own = _read(self.path)
        self._others = [
            row
            for path in sorted(directory.glob("*.jsonl"))
            if path != self.path
            for row in _read(path)
        ]

    def find(self, key: str) -> Row | None:
        """The row of that key: this ablation's own, or another's."""
        rows = (row for row in (*self._own, *self._others) if row["key"] == key)
        return next(rows, None)

    def add(self, row: Row) -> None:
        """Append a row, which has a "key"; on disk when this returns."""
        line = json.dumps(row, ensure_ascii=False) + "\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(
                "output.unwritable",
                f"{self.path} cannot be written: {error.strerror}.",
                "Choose another directory with --out.",
            ) from None
        self._own.append(row)


def _read(path: Path) -> list[Row]:
    """All whole rows; a last line that a kill has cut is taken off the file."""
    if not path.exists():
        return []
    rows = []
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row["key"]
        except (ValueError, TypeError, KeyError):
            if number == len(lines) and not line.endswith(b"\n"):
                write_file(path, b"".join(lines[:-1]))
                break
            raise InputError(
                "ablations.rows",
                f"line {number} of {path} is not a row of an ablation.",
                "Remove the line, or choose another directory with --out.",
            ) from None
        rows.append(row)
    return rows
