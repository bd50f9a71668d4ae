"""One sheet of the scenes on which two captioners agree least: captions and boxes of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from edgecap.benchmarks.comparison import SceneComparison
from edgecap.runtime.captions import Caption
from edgecap.runtime.draw import SMALLEST, draw
from edgecap.runtime.fonts import font_for, wrapped

GAP, TEXT, SMALL = 16, 17, 14  # px
PAPER, INK, FADED = "white", "#1a1a1a", "#5a5a5a"


def worst_sheet(
    names: tuple[str, str],
    scenes: Sequence[SceneComparison],
    images: Sequence[np.ndarray],
    of: int,
) -> Image.Image:
    """A row per scene, worst first: A's boxes and words beside B's.

    `images` are those of all scenes, uint8 [S,S,3]; `of` is how many scenes were compared.
    If all agree the sheet states it.
    """
    width = 2 * SMALLEST + 3 * GAP
    rows = [_row(scene, images[scene.index], width) for scene in scenes]
    which = "scene" if len(rows) == 1 else f"{len(rows)} scenes"
    title = f"The {which} of {of} on which they agree least"
    title = title if rows else f"All {of} captions are equal"
    head = _text([(title, INK, TEXT)], width)
    columns = _beside([_text([(name, INK, TEXT)], SMALLEST + GAP) for name in names], width)
    return _stacked([head, columns, *rows], width)


def _row(scene: SceneComparison, image: np.ndarray, width: int) -> Image.Image:
    lang, shared = scene.captions[0].lang, len(scene.ious)
    about = (
        f"scene {scene.index}, {lang}: agreement {scene.agreement:.2f}, "
        f"{shared} of {scene.named} things shared"
    )
    if scene.ious:
        about += f", their boxes overlap by {np.mean(scene.ious):.2f}"
    sides = [_side(caption, image) for caption in scene.captions]
    return _stacked([_text([(about, FADED, SMALL)], width), _beside(sides, width)], width)


def _side(caption: Caption, image: np.ndarray) -> Image.Image:
    """The image with one caption's boxes, and its words below."""
    drawn = draw(image, caption.mentions)
    lines = [(caption.text or "(an empty caption)", INK, TEXT), (drawn.note, FADED, SMALL)]
    words = _text([line for line in lines if line[0]], SMALLEST + GAP)
    side = Image.new("RGB", (SMALLEST + GAP, drawn.image.height + words.height), PAPER)
    side.paste(drawn.image, (GAP, 0))
    side.paste(words, (0, drawn.image.height))
    return side


def _text(paragraphs: Sequence[tuple[str, str, int]], width: int) -> Image.Image:
    """Paragraphs of (text, ink, px) in lines that fit, with a margin of GAP on the left."""
    lines = []
    for text, ink, px in paragraphs:
        font, _ = font_for(text, px)
        lines += [(line, ink, px, font) for line in wrapped(text, font, width - 2 * GAP)]
    image = Image.new("RGB", (width, sum(px + 7 for _, _, px, _ in lines) + GAP // 2), PAPER)
    pen, y = ImageDraw.Draw(image), GAP // 4
    for line, ink, px, font in lines:
        pen.text((GAP, y), line, fill=ink, font=font)
        y += px + 7
    return image


def _beside(parts: Sequence[Image.Image], width: int) -> Image.Image:
    image = Image.new("RGB", (width, max(part.height for part in parts)), PAPER)
    for i, part in enumerate(parts):
        image.paste(part, (i * (SMALLEST + GAP), 0))
    return image


def _stacked(parts: Sequence[Image.Image], width: int) -> Image.Image:
    image = Image.new("RGB", (width, sum(part.height for part in parts) + GAP // 2), PAPER)
    y = GAP // 4
    for part in parts:
        image.paste(part, (0, y))
        y += part.height
    return image
