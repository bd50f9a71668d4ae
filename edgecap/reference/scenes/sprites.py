"""The sprites of scenes: emoji glyphs of the system font, and six plain shapes.

A sprite is cropped to its visible pixels after rotation, so the box it is pasted into is its exact
box. Emoji are premultiplied RGBA, shapes are masks to be filled with a colour. Angles are steps
of 5 degrees so that rotated sprites can be cached; resizing is cheap and done per drawing.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgecap.core.errors import InputError
from edgecap.reference.scenes.font import font_path
from edgecap.reference.scenes.graph import SHAPES
from edgecap.reference.scenes.nouns import NOUNS

ANGLES = (-15, -10, -5, 0, 5, 10, 15)  # degrees, counter-clockwise
GLYPH_PX = 109  # the only size of the bitmap font
SHAPE_PX = 120  # long side of a shape's largest mask
# Nothing is darker or lighter than this, so that sensor noise can be added without saturation.
DARKEST, LIGHTEST = 14, 241
VISIBLE_ALPHA = 24  # of 255; fainter edge pixels do not count as part of the box

RGB: dict[str, tuple[int, int, int]] = {
    "red": (215, 35, 40),
    "green": (35, 160, 60),
    "blue": (40, 75, 215),
    "yellow": (234, 214, 40),
    "purple": (148, 50, 178),
    "orange": (236, 128, 24),
    "black": (26, 26, 28),
    "white": (234, 234, 234),
}


@cache
def _font() -> ImageFont.FreeTypeFont:
    path = font_path()
    if path is None:
        raise InputError(
            "scenes.font",
            "The font Noto Color Emoji, which scenes are drawn with, is not installed.",
            "Run: apt-get install fonts-noto-color-emoji",
        )
    return ImageFont.truetype(str(path), GLYPH_PX)


@cache
def _glyph(noun: str) -> Image.Image:
    """An upright emoji, RGBa (premultiplied), cropped."""
    image = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(image).text((12, 12), NOUNS[noun], font=_font(), embedded_color=True)
    return image.convert("RGBa")


@cache
def _shape(shape: str) -> Image.Image:
    """An upright shape, L, drawn four times too large and reduced."""
    big, margin = SHAPE_PX * 4, SHAPE_PX
    image = Image.new("L", (big + 2 * margin,) * 2)
    draw = ImageDraw.Draw(image)
    low, middle, high = margin, margin + big / 2, margin + big
    if shape in ("circle", "ring"):
        draw.ellipse((low, low, high, high), fill=255)
        if shape == "ring":
            inner = big * 0.24
            draw.ellipse((low + inner, low + inner, high - inner, high - inner), fill=0)
    elif shape == "square":
        inset = big * 0.06
        draw.rectangle((low + inset, low + inset, high - inset, high - inset), fill=255)
    else:
        draw.polygon(_corners(shape, low, middle, high), fill=255)
    return image.reduce(4)


def _corners(shape: str, low: float, middle: float, high: float) -> list[tuple[float, float]]:
    if shape == "triangle":
        return [(middle, low), (high, high), (low, high)]
    if shape == "diamond":
        # Slim, so that it differs from a rotated square.
        half = (high - low) * 0.31
        return [(middle, low), (middle + half, middle), (middle, high), (middle - half, middle)]
    assert shape == "star"
    radius = (high - low) / 2
    return [
        (
            middle + radius * (1.0 if i % 2 == 0 else 0.42) * math.sin(i * math.pi / 5),
            middle - radius * (1.0 if i % 2 == 0 else 0.42) * math.cos(i * math.pi / 5),
        )
        for i in range(10)
    ]


@cache
def _rotated(noun: str, angle: int) -> tuple[Image.Image, Image.Image]:
    """A rotated sprite cropped to its visible pixels, and the same at half size."""
    upright = _shape(noun) if noun in SHAPES else _glyph(noun)
    turned = upright.rotate(angle, Image.Resampling.BICUBIC, expand=True) if angle else upright
    if turned.mode == "RGBa":
        turned = _limited(turned)
    alpha = turned if turned.mode == "L" else turned.getchannel("a")
    box = alpha.point([0] * VISIBLE_ALPHA + [255] * (256 - VISIBLE_ALPHA)).getbbox()
    turned = turned.crop(box)
    return turned, turned.resize(
        ((turned.width + 1) // 2, (turned.height + 1) // 2), Image.Resampling.BOX
    )


def _limited(image: Image.Image) -> Image.Image:
    """Premultiplied levels clipped to DARKEST … LIGHTEST: bicubic rotation overshoots."""
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, 4).copy()
    alpha = pixels[..., 3:].astype(np.uint16)
    pixels[..., :3] = pixels[..., :3].clip(alpha * DARKEST // 255, alpha * LIGHTEST // 255)
    return Image.frombytes("RGBa", image.size, pixels.tobytes())


@cache
def aspect(noun: str, angle: int) -> float:
    """Width over height of a turned sprite. `angle` is one of ANGLES."""
    turned = _rotated(noun, angle)[0]
    return turned.width / turned.height


def sprite(noun: str, angle: int, width: int, height: int) -> Image.Image:
    """The image of a noun (RGBa) or the mask of a shape (L) at a size in px."""
    large, small = _rotated(noun, angle)
    base = small if small.width >= width else large
    return base.resize((width, height), Image.Resampling.BILINEAR)
