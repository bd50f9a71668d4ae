"""Images that are no scene, drawn from seeds: what a captioner of scenes should decline.

noise      uniform, Gaussian, grey, and blocks of colour
blank      black, white, and one colour
scribbles  lines and curves over one colour
text       a page of letters
patches    a scene cut into tiles and shuffled, so that no thing is whole
gradients  one colour that becomes another
patterns   stripes, a chequerboard, dots

and, for measuring alone (HELD_OUT):

charts     bars and lines over axes with numbers
clouds     coloured noise of low frequencies
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgecap.reference.scenes.splits import scenes

SIDE = 224  # px
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def not_scenes(kind: str, n: int, seed: int) -> list[np.ndarray]:
    """n images of one of KINDS or HELD_OUT, uint8 [SIDE,SIDE,3]; the same for the same seed."""
    kinds = KINDS | HELD_OUT
    number = list(kinds).index(kind)
    return [kinds[kind](np.random.default_rng((number, seed, i)), i) for i in range(n)]


def _noise(rng: np.random.Generator, i: int) -> np.ndarray:
    if i % 4 == 0:
        return rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    if i % 4 == 1:
        values = rng.normal(128, rng.uniform(5, 60), (SIDE, SIDE, 3))
        return np.clip(values, 0, 255).astype(np.uint8)
    if i % 4 == 2:
        return np.repeat(rng.integers(0, 256, (SIDE, SIDE, 1), np.uint8), 3, 2)
    side = int(rng.integers(2, 40))
    blocks = Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))
    return np.asarray(blocks.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _blank(rng: np.random.Generator, i: int) -> np.ndarray:
    color = (0, 0, 0) if i == 0 else (255, 255, 255) if i == 1 else rng.integers(0, 256, 3)
    return np.full((SIDE, SIDE, 3), color, np.uint8)


def _scribbles(rng: np.random.Generator, i: int) -> np.ndarray:
    image, draw = _canvas(rng)
    for _ in range(int(rng.integers(3, 25))):
        color, width = _color(rng), int(rng.integers(1, 9))
        points = [tuple(map(float, point)) for point in rng.uniform(0, SIDE, (4, 2))]
        if rng.integers(2):
            draw.line(points, color, width, joint="curve")
        else:
            (x0, y0), (x1, y1) = np.sort(rng.uniform(0, SIDE, (2, 2)), axis=0).tolist()
            start, end = rng.uniform(0, 360, 2).tolist()
            draw.arc((x0, y0, x1, y1), start, end, color, width)
    return np.asarray(image)


def _text(rng: np.random.Generator, i: int) -> np.ndarray:
    image, draw = _canvas(rng)
    size = int(rng.integers(9, 40))
    font, color = ImageFont.load_default(size), _color(rng)
    for y in range(4, SIDE, int(size * 1.3)):
        words = ("".join(rng.choice(list(_LETTERS), rng.integers(2, 9))) for _ in range(9))
        draw.text((4, y), " ".join(words), color, font)
    return np.asarray(image)


def _patches(rng: np.random.Generator, i: int) -> np.ndarray:
    """`rng` also says which scene, so that two seeds show different ones."""
    (image, _), *_ = scenes("train", 1, int(rng.integers(1, 1 << 30)))
    side = int(rng.choice([8, 14, 16, 28]))
    count = SIDE // side
    tiles = image.reshape(count, side, count, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    mixed = tiles[rng.permutation(len(tiles))].reshape(count, count, side, side, 3)
    return mixed.swapaxes(1, 2).reshape(SIDE, SIDE, 3)


def _gradients(rng: np.random.Generator, i: int) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    angle, (left, top) = rng.uniform(0, 2 * np.pi), rng.uniform(size=2)
    across = np.cos(angle) * x + np.sin(angle) * y if i % 2 else np.hypot(x - left, y - top)
    share = (across - across.min()) / np.ptp(across)  # [SIDE,SIDE]
    first, last = rng.integers(0, 256, (2, 3))
    return np.asarray(first + (last - first) * share[..., None]).astype(np.uint8)


def _patterns(rng: np.random.Generator, i: int) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    period, angle = int(rng.integers(6, 48)), rng.uniform(0, np.pi)
    if i % 3 == 0:
        shown = (x * np.cos(angle) + y * np.sin(angle)) // period % 2 > 0
    elif i % 3 == 1:
        shown = (x // period + y // period) % 2 > 0
    else:
        radius = period * rng.uniform(0.2, 0.45)
        shown = np.hypot(x % period - period / 2, y % period - period / 2) < radius
    first, second = rng.integers(0, 256, (2, 3))
    return np.where(shown[..., None], first, second).astype(np.uint8)


def _charts(rng: np.random.Generator, i: int) -> np.ndarray:
    paper, ink = ((255, 255, 255), (0, 0, 0)) if i % 2 else ((20, 24, 30), (220, 220, 220))
    image = Image.new("RGB", (SIDE, SIDE), paper)
    draw = ImageDraw.Draw(image)
    draw.line((24, 8, 24, 200, 216, 200), ink, 1)
    for k in range(5):
        draw.line((24, 12 + k * 38, 216, 12 + k * 38), (128, 128, 128), 1)
        draw.text((4, 8 + k * 38), str(int(rng.integers(100))), ink)
        draw.text((30 + k * 38, 206), str(2000 + k), ink)
    if i % 4 < 2:
        count, color = int(rng.integers(3, 12)), _color(rng)
        for k, height in enumerate(rng.integers(10, 180, count).tolist()):
            left = 28 + k * (180 // count)
            draw.rectangle((left, 200 - height, left + 135 // count, 199), color)
        return np.asarray(image)
    for _ in range(int(rng.integers(1, 4))):
        values = np.cumsum(rng.normal(0, 10, 40))
        heights = 20 + 170 * (values - values.min()) / np.ptp(values)
        points = [(28 + k * 4.7, height) for k, height in enumerate(heights.tolist())]
        draw.line(points, _color(rng), 2)
    return np.asarray(image)


def _clouds(rng: np.random.Generator, i: int) -> np.ndarray:
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequencies[0, 0] = 1
    bands: list[np.ndarray] = []
    for _ in range(3):
        noise = np.fft.fft2(rng.normal(size=(SIDE, SIDE))) / frequencies ** rng.uniform(1.2, 2.2)
        band = np.fft.ifft2(noise).real
        band /= band.std()
        bands.append(bands[0] + 0.3 * band if bands and i % 2 else band)  # odd ones nearly grey
    values = np.stack(bands, -1) * rng.uniform(25, 60) + rng.integers(60, 200, 3)
    return np.clip(values, 0, 255).astype(np.uint8)


def _canvas(rng: np.random.Generator) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (SIDE, SIDE), _color(rng))
    return image, ImageDraw.Draw(image)


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
    return red, green, blue


Draw: TypeAlias = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, Draw] = {
    "noise": _noise,
    "blank": _blank,
    "scribbles": _scribbles,
    "text": _text,
    "patches": _patches,
    "gradients": _gradients,
    "patterns": _patterns,
}
HELD_OUT: dict[str, Draw] = {"charts": _charts, "clouds": _clouds}
