"""Atomic saving of matplotlib figures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from edgecap.core.atomic import write_file

DPI = 110


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as PNG, atomically; errors as in `write_file`."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI)
    write_file(path, png.getvalue())
