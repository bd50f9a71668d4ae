"""Where the emoji font lies that scenes are drawn with. Standard library only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

FONT = "NotoColorEmoji.ttf"
FOLDERS = (
    Path("/usr/share/fonts/truetype/noto"),  # Debian's, looked at before all of its parents
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path(os.path.expanduser("~/.local/share/fonts")),  # Path.home() fails where there is none
    Path(os.path.expanduser("~/.fonts")),
)


def font_path() -> Path | None:
    """The file of Noto Color Emoji: in a usual folder, or where fontconfig knows it; None."""
    for folder in FOLDERS:
        for path in folder.rglob(FONT):
            if path.is_file():
                return path
    told = _asked_of_fontconfig()
    return told if told.name == FONT and told.is_file() else None


def _asked_of_fontconfig() -> Path:
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
