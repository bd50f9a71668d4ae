"""Selects a system font that covers a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

# Fonts by script; the first one found is used. Names, not paths: Pillow searches the system.
_CJK = ("NotoSansCJK-Regular.ttc", "NotoSerifCJK-Bold.ttc", "msgothic.ttc", "PingFang.ttc")
_LATIN = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Helvetica.ttc")


# The ranges that they are assumed to cover: first and last code points.
_EUROPEAN = ((0x0, 0x52F), (0x1E00, 0x206F))  # Latin, Greek, Cyrillic, punctuation
_EAST_ASIAN = (
    (0x1100, 0x11FF),
    (0x2E80, 0x9FFF),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF00, 0xFFEF),
    (0x20000, 0x3FFFF),
)


def font_for(text: str, size: int) -> tuple[Font, bool]:
    """A font of `size` px for the text, and whether it is likely to cover it."""
    needs_cjk = any(_within(character, _EAST_ASIAN) for character in text)
    covered = all(_within(character, _EUROPEAN + _EAST_ASIAN) for character in text)
    for name in _CJK if needs_cjk else _LATIN:
        try:
            return ImageFont.truetype(name, size), covered
        except OSError:
            continue
    # Pillow's own font covers Latin.
    return ImageFont.load_default(size), covered and not needs_cjk


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


def wrapped(text: str, font: Font, width: float) -> Iterator[str]:
    """Break the text into lines of at most `width` px; without spaces, at any character."""
    parts = text.split(" ") if " " in text else list(text)
    joint, line = " " if " " in text else "", ""
    for part in parts:
        longer = f"{line}{joint}{part}" if line else part
        if line and font.getlength(longer) > width:
            yield line
            longer = part
        line = longer
    yield line
