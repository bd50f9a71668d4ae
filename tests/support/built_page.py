"""The page of examples/web: built with bundles, served, and opened in Chromium by browser.mjs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from js_edgecap import MODULES, REPO, node

WEB = REPO / "examples" / "web"


def build(folder: Path, bundles: Sequence[Path]) -> Path:
    """The page at `folder`."""
    built = subprocess.run(
        [sys.executable, str(WEB / "build.py"), "-o", str(folder)]
        + ["--modules", str(MODULES / "node_modules"), *map(str, bundles)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the page while it is served."""
    with subprocess.Popen(
        [sys.executable, str(WEB / "serve.py"), str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def in_browser(address: str, files: Sequence[str], models: Sequence[str] = ()) -> dict[str, Any]:
    """What browser.mjs prints of these files and models of the page."""
    arguments = (str(MODULES), address, ",".join(files), ",".join(models))
    ran = node("browser.mjs", *arguments, seconds=3600)
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen
