"""Drawn figures, written as every other file is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from edgecap.core.atomic import write_file

DPI = 110


def save_figure(figure: Any, path: Path) -> None:
    """A matplotlib figure as a PNG that appears complete or not at all; errors of `write_file`."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    write_file(path, drawn.getvalue())
