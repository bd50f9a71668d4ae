"""Changing an index so that only its content is wrong: its manifest vouches for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecap.apps.retrieval import store
from edgecap.apps.retrieval.manifest import MANIFEST


def reseal(index: Path, changed: Callable[[list[dict[str, Any]]], None]) -> None:
    """Let `changed` alter the entries of each segment, and tell the manifest of the new files."""
    told = json.loads((index / MANIFEST).read_bytes())
    for segment in told["segments"]:
        file = index / segment["entries"]
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        changed(rows)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        told["files"][file.name] = store._entry_of(file).__dict__
    (index / MANIFEST).write_text(json.dumps(told))
