"""The vectors in the checkout are what `conformance/make.py` makes, and stay small."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vectors import VECTORS


def test_the_script_makes_what_is_committed(tmp_path: Path) -> None:
    """To the byte but for fractions, whose last digits differ between versions of NumPy."""
    script = (
        "import make, sys; from pathlib import Path; made = make.everything(); "
        "[(Path(sys.argv[1]) / name).write_bytes(data) for name, data in made.items()]"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    run = subprocess.run(command, cwd=VECTORS.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    made, kept = files(tmp_path), files(VECTORS)
    assert made.keys() == kept.keys()
    differ = [name for name in made if made[name] != kept[name]]
    assert [name for name in differ if not alike(made[name], kept[name])] == []


def test_fractions_are_compared_and_nothing_else_may_differ() -> None:
    assert alike(b'{"a": [1, 0.1]}', b'{"a": [1, 0.10000000000000002]}')
    for other in ('{"a": [1, 0.11]}', '{"a": [2, 0.1]}', '{"a": [1]}', '{"b": [1, 0.1]}', "[1]"):
        assert not alike(b'{"a": [1, 0.1]}', other.encode())
    assert not alike(b"\0", b"\1")


def test_size() -> None:
    assert sum(file.stat().st_size for file in Path(VECTORS).iterdir()) < 1_200_000


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def alike(made: bytes, kept: bytes) -> bool:
    try:
        return _alike(json.loads(made), json.loads(kept))
    except ValueError:  # no JSON
        return made == kept


def _alike(made: Any, kept: Any) -> bool:
    if isinstance(made, float) and isinstance(kept, float):
        return made == pytest.approx(kept, rel=1e-12, abs=1e-15)
    if type(made) is not type(kept):
        return False
    if isinstance(made, list):
        return len(made) == len(kept) and all(map(_alike, made, kept))
    if isinstance(made, dict):
        return made.keys() == kept.keys() and all(_alike(made[key], kept[key]) for key in made)
    return bool(made == kept)
