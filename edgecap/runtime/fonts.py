"""A font for a text, from those that the system has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

# Fonts by what they cover; the first found is used. Names, not paths: Pillow searches the system.
_CJK = ("NotoSansCJK-Regular.ttc", "NotoSerifCJK-Bold.ttc", "msgothic.ttc", "PingFang.ttc")
_LATIN = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Helvetica.ttc")


def font_for(text: str, size: int) -> tuple[Font, bool]:
    """A font of `size` px for the text, and whether it is likely to cover it."""
    needs_cjk = any(ord(character) >= 0x2E80 for character in text)
    for name in _CJK if needs_cjk else _LATIN:
        try:
            return ImageFont.truetype(name, size), True
        except OSError:
            continue
    # Pillow's own font covers Latin.
    return ImageFont.load_default(size), not needs_cjk


def wrapped(text: str, font: Font, width: float) -> Iterator[str]:
    """The text in lines of at most `width` px; a script without spaces breaks anywhere."""
    parts = text.split(" ") if " " in text else list(text)
    joint, line = " " if " " in text else "", ""
    for part in parts:
        longer = f"{line}{joint}{part}" if line else part
        if line and font.getlength(longer) > width:
            yield line
            longer = part
        line = longer
    yield line
