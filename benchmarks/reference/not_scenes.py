"""Images that are no scene, drawn from seeds: what a captioner of scenes should decline.

noise      uniform, Gaussian, grey, and blocks of colour
blank      black, white, and one colour
scribbles  lines and curves over one colour
text       a page of letters
patches    a scene cut into tiles and shuffled, so that no thing is whole
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgecap.reference.scenes.splits import scenes

SIDE = 224  # px
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def not_scenes(kind: str, n: int, seed: int) -> list[np.ndarray]:
    """n images of one of KINDS, uint8 [SIDE,SIDE,3]; the same for the same seed."""
    number = list(KINDS).index(kind)
    return [KINDS[kind](np.random.default_rng((number, seed, i)), i) for i in range(n)]


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


def _canvas(rng: np.random.Generator) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (SIDE, SIDE), _color(rng))
    return image, ImageDraw.Draw(image)


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
    return red, green, blue


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "noise": _noise,
    "blank": _blank,
    "scribbles": _scribbles,
    "text": _text,
    "patches": _patches,
}
