"""The help of every command at 80 columns, and where its snapshots lie.

To write them anew: python tests/support/help_texts.py
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from edgecap.cli._commands import COMMANDS
from edgecap.cli.app import main

FOLDER = Path(__file__).parents[1] / "cli" / "help"
PAGES = {"edgecap": ["--help"], **{name: [name, "--help"] for name in COMMANDS}}


def rendered(arguments: list[str]) -> str:
    """What the arguments print, at the width that COLUMNS says."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(output):
        assert main(arguments) == 0
    output.seek(0)
    return output.read()


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for page, arguments in PAGES.items():
        (FOLDER / f"{page}.txt").write_text(rendered(arguments), encoding="utf-8")
