"""Find the emoji font with which scenes are drawn. Standard library only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

FONT = "NotoColorEmoji.ttf"
FOLDERS = (
    Path("/usr/share/fonts/truetype/noto"),  # Debian's; searched before its parent folders
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path(os.path.expanduser("~/.local/share/fonts")),  # Path.home() fails where there is none
    Path(os.path.expanduser("~/.fonts")),
)


def font_path() -> Path | None:
    """The file of Noto Color Emoji: in a usual folder or by fontconfig; else None."""
    for folder in FOLDERS:
        for path in folder.rglob(FONT):
            if path.is_file():
                return path
    path = _fontconfig_match()
    return path if path.name == FONT and path.is_file() else None


def _fontconfig_match() -> Path:
    try:
        answer = subprocess.run(
            ["fc-match", "--format=%{file}", "Noto Color Emoji"],
            capture_output=True,
            text=True,
            timeout=10,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return Path()
    return Path(answer.strip())
