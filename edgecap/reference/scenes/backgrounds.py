"""Backgrounds: grey fields in banks, coloured per scene through a palette of two muted colours.

A field is uint8 [FIELD_PX, FIELD_PX]; a scene shows a window of it or of its mirror image.
Drawing fields is slow and happens once per family and process; colouring one takes microseconds.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

FIELD_PX = 336
BANK = 32  # fields per family, before mirroring
NOISE_LEVELS = (0.0, 0.6, 1.2, 1.8)  # standard deviation of sensor noise, grey levels
NOISE_LIMIT = 12  # grey levels
_SEED = 20240

TRAINING_FAMILIES = ("plain", "gradient", "textured", "cluttered")
HELD_OUT_FAMILIES = ("radial", "waves", "bricks")
# Difference between the two colours of a palette, grey levels.
_CONTRAST = {"plain": 0, "gradient": 90, "radial": 90}
_FAINT = 46
_RAMP = np.linspace(0, 1, 256)[:, None]

Field = np.ndarray


def _plain(rng: np.random.Generator) -> Field:
    return np.full((FIELD_PX, FIELD_PX), 128, np.uint8)


def _gradient(rng: np.random.Generator) -> Field:
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:FIELD_PX, :FIELD_PX] / FIELD_PX - 0.5
    ramp = x * np.cos(turn) + y * np.sin(turn)
    return _stretch(ramp)


def _radial(rng: np.random.Generator) -> Field:
    y, x = np.mgrid[:FIELD_PX, :FIELD_PX] / FIELD_PX
    return _stretch(np.hypot(x - rng.uniform(0.2, 0.8), y - rng.uniform(0.2, 0.8)))


def _waves(rng: np.random.Generator) -> Field:
    y, x = np.mgrid[:FIELD_PX, :FIELD_PX] / FIELD_PX * 2 * np.pi
    total = np.zeros((FIELD_PX, FIELD_PX))
    for _ in range(3):
        kx, ky = rng.uniform(-9, 9, 2)
        total += np.sin(kx * x + ky * y + rng.uniform(0, 6) + np.sin(2 * x))
    return _stretch(total)


def _bricks(rng: np.random.Generator) -> Field:
    height, width = int(rng.integers(14, 30)), int(rng.integers(34, 64))
    y, x = np.mgrid[:FIELD_PX, :FIELD_PX]
    row = y // height
    column = (x + row % 2 * (width // 2)) // width
    shade = rng.integers(110, 220, (row.max() + 1, column.max() + 1))
    mortar = (y % height < 2) | ((x + row % 2 * (width // 2)) % width < 2)
    return np.where(mortar, 20, shade[row, column]).astype(np.uint8)


def _textured(rng: np.random.Generator) -> Field:
    kind = rng.integers(3)
    if kind == 0:
        total = np.zeros((FIELD_PX, FIELD_PX), np.float32)
        for octave in (4, 8, 16, 32):
            coarse = Image.fromarray(rng.random((octave, octave), np.float32), "F")
            total += np.asarray(coarse.resize((FIELD_PX,) * 2, Image.Resampling.BICUBIC)) / octave
        return _stretch(total)
    y, x = np.mgrid[:FIELD_PX, :FIELD_PX]
    turn, period = rng.uniform(0, np.pi), rng.uniform(10, 48)
    along = (x * np.cos(turn) + y * np.sin(turn)) / period * np.pi
    if kind == 1:
        return _stretch(np.clip(np.sin(along) * rng.uniform(1, 6), -1, 1))
    across = (y * np.cos(turn) - x * np.sin(turn)) / period * np.pi
    return _stretch(np.clip(np.sin(along) * np.sin(across) * rng.uniform(2, 8), -1, 1))


def _cluttered(rng: np.random.Generator) -> Field:
    """Thin lines, specks and slivers: clutter that no caption names."""
    image = Image.new("L", (FIELD_PX,) * 2, 128)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(40, 110))):
        x, y = rng.uniform(0, FIELD_PX, 2)
        shade = int(rng.integers(0, 256))
        kind = rng.integers(4)
        if kind == 0:
            dx, dy = rng.uniform(-90, 90, 2)
            draw.line((x, y, x + dx, y + dy), fill=shade, width=int(rng.integers(1, 3)))
        elif kind == 1:
            draw.ellipse((x, y, x + 3, y + 3), fill=shade)
        elif kind == 2:
            start, span = rng.uniform(0, 360), rng.uniform(40, 150)
            side = rng.uniform(12, 70)
            draw.arc((x, y, x + side, y + side), start, start + span, fill=shade, width=2)
        else:
            corners = rng.uniform(-15, 15, (5, 2)) * (1.0, 0.5) + (x, y)
            draw.polygon([(float(a), float(b)) for a, b in corners], fill=shade)
    return np.asarray(image)


def _stretch(values: np.ndarray) -> Field:
    low, high = values.min(), values.max()
    return ((values - low) * (255.0 / (high - low))).astype(np.uint8)


_FAMILIES: dict[str, Callable[[np.random.Generator], Field]] = {
    "plain": _plain,
    "gradient": _gradient,
    "textured": _textured,
    "cluttered": _cluttered,
    "radial": _radial,
    "waves": _waves,
    "bricks": _bricks,
}


@cache
def _bank(family: str) -> tuple[Image.Image, ...]:
    rng = np.random.default_rng((_SEED, list(_FAMILIES).index(family)))
    fields = (_FAMILIES[family](rng) for _ in range(1 if family == "plain" else BANK))
    images = [Image.fromarray(field, "L") for field in fields]
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    return (*images, *mirrored)


def _muted(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour far from the eight shape colours: low saturation, no extremes."""
    value = 80 + 125 * rng.random()
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), 0.32 * rng.random(), 1.0)
    return red * value, green * value, blue * value


def _palette(rng: np.random.Generator, contrast: float) -> bytes:
    a, b = np.array(_muted(rng)), np.array(_muted(rng))
    span = max(*np.abs(b - a).tolist(), 1.0)
    step = (b - a) * min(1.0, contrast * (0.4 + 0.6 * rng.random()) / span)
    return (a + _RAMP * step).astype(np.uint8).tobytes()


def background(family: str, size: int, seed: int) -> Image.Image:
    """An RGB image, `size` px a side; the same for the same arguments. Values lie in 50 … 210."""
    rng = np.random.default_rng(seed)
    bank = _bank(family)
    field = bank[int(rng.integers(len(bank)))]
    left, top = (int(rng.integers(FIELD_PX - size + 1)) for _ in range(2))
    window = field.crop((left, top, left + size, top + size))
    window.putpalette(_palette(rng, _CONTRAST.get(family, _FAINT)))
    return window.convert("RGB")


@cache
def _noise_bank(level: int) -> np.ndarray:
    """int8 as uint8 [FIELD_PX, FIELD_PX, 3]: grey noise, so that lossless files stay small."""
    rng = np.random.default_rng((_SEED, 99, level))
    grey = rng.normal(0, NOISE_LEVELS[level], (FIELD_PX, FIELD_PX, 1)).round()
    return grey.clip(-NOISE_LIMIT, NOISE_LIMIT).astype(np.int8).repeat(3, axis=2).view(np.uint8)


def noise(level: int, size: int, left: int, top: int) -> np.ndarray:
    """uint8 [size, size, 3] to be added modulo 256 to pixels that stay clear of 0 and 255."""
    return _noise_bank(level)[top : top + size, left : left + size]
