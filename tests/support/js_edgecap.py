"""Node on the scripts of tests/embed_js, with the packages of npm that `make js` fetches."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "tests" / "embed_js"
MODULES = REPO / "build" / "js"  # where `make js` puts them

Caption: TypeAlias = Callable[..., dict[str, Any]]


def node(*arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """Node on a script of tests/embed_js."""
    return subprocess.run(
        ["node", *arguments], cwd=SCRIPTS, capture_output=True, text=True, timeout=seconds
    )
