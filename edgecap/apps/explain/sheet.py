"""A contact sheet: the image once, then once per word with the word's map.

Letters: W words.
"""

from __future__ import annotations

from PIL import Image, ImageDraw

from edgecap.apps.explain.heat import heat, levels
from edgecap.apps.explain.maps import CaptionTrace, Maps, word_boxes
from edgecap.runtime.fonts import font_for, wrapped
from edgecap.runtime.preprocess import ImageLike, to_rgb

TILE, GAP, COLUMNS = 208, 14, 6  # px, px, tiles in a row
TEXT, SMALL = 17, 13  # px
PAPER, INK, FADED = "white", "#1a1a1a", "#5a5a5a"


def sheet(image: ImageLike, trace: CaptionTrace, maps: Maps) -> Image.Image:
    """The sheet of one kind of maps, RGB."""
    words, rgb = trace.attention.words, to_rgb(image)
    tile = fit(rgb, TILE)
    size = trace.model_input.shape[0]
    tiles = [tile] + [
        heat(tile, level, trace.attention.placement, size) for level in levels(maps.words)
    ]
    for one, box in zip(tiles[1:], word_boxes(trace), strict=True):
        if box:
            ImageDraw.Draw(one).rectangle(
                [edge * tile.width / rgb.width for edge in box], outline=PAPER
            )
    labels = ["the image"] + ["box" if word.is_box else word.text or "(space)" for word in words]
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    width = max(columns, 3) * (TILE + GAP) + GAP
    font, _ = font_for(trace.attention.caption.text, TEXT)
    small, _ = font_for("", SMALL)
    title = list(
        wrapped(trace.attention.caption.text or "(an empty caption)", font, width - 2 * GAP)
    )
    note = list(
        wrapped(maps.note + " Each map is scaled by its own maximum.", small, width - 2 * GAP)
    )
    head = GAP + len(title) * (TEXT + 6) + GAP
    cell = tile.height + TEXT + 2 * GAP
    height = head + rows * cell + len(note) * (SMALL + 5) + GAP
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    for i, line in enumerate(title):
        pen.text((GAP, GAP + i * (TEXT + 6)), line, fill=INK, font=font)
    for i, (one, label) in enumerate(zip(tiles, labels, strict=True)):
        x, y = GAP + i % columns * (TILE + GAP), head + i // columns * cell
        page.paste(one, (x, y))
        faded = i == 0 or words[i - 1].is_box
        pen.text((x, y + tile.height + 3), label, fill=FADED if faded else INK, font=font)
    for i, line in enumerate(note):
        place = (GAP, height - GAP - (len(note) - i) * (SMALL + 5))
        pen.text(place, line, fill=FADED, font=small)
    return page


def fit(rgb: Image.Image, side: int) -> Image.Image:
    """The image with its longer side of `side` px."""
    factor = side / max(rgb.size)
    width, height = (max(1, round(side * factor)) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS)
