"""One word's maps by layer and head as an image: a row per layer, a column per head.

Letters: L layers, H heads, G patches along one side of the model_input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from edgecap.apps.explain.heat import heat, levels
from edgecap.apps.explain.maps import CaptionTrace, Maps
from edgecap.apps.explain.sheet import FADED, GAP, INK, PAPER, fit
from edgecap.runtime.fonts import font_for, wrapped
from edgecap.runtime.preprocess import ImageLike, to_rgb

TILE, LABEL, TEXT, SMALL = 132, 70, 17, 13  # px
READING = (
    " The last column is the mean of a layer's heads. Each map is scaled by its own maximum; the "
    "percentage is the share of attention on the image, the rest is on the words before."
)


def table(image: ImageLike, trace: CaptionTrace, maps: Sequence[Maps], word: int) -> Image.Image:
    """The table of the word with index `word`, RGB; `maps` holds every layer and head."""
    text = trace.attention.words[word].text
    L, H = 1 + max(m.layer or 0 for m in maps), 1 + max(m.head or 0 for m in maps)
    grid = np.stack([m.words[word] for m in maps]).reshape(L, H, *maps[0].words.shape[1:])
    grid = np.concatenate([grid, grid.mean(1, keepdims=True)], 1)  # [L,H+1,G,G]
    tile = fit(to_rgb(image), TILE)
    font, _ = font_for(trace.attention.caption.text, TEXT)
    small, _ = font_for("", SMALL)
    wide, high = tile.width + GAP, tile.height + SMALL + GAP
    width = max(LABEL + (H + 1) * wide + GAP, 3 * TILE)
    title = list(wrapped(f"“{text}” in: {trace.attention.caption.text}", font, width - 2 * GAP))
    note = list(wrapped(maps[0].note + READING, small, width - 2 * GAP))
    head = GAP + len(title) * (TEXT + 6) + GAP + SMALL + 6
    page = Image.new("RGB", (width, head + L * high + len(note) * (SMALL + 5) + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(page)
    for i, line in enumerate(title):
        pen.text((GAP, GAP + i * (TEXT + 6)), line, fill=INK, font=font)
    for h, label in enumerate([*(f"head {h + 1}" for h in range(H)), "mean"]):
        pen.text((LABEL + h * wide, head - SMALL - 6), label, fill=FADED, font=small)
    shown = levels(grid)  # uint8 [L,H+1,G,G]
    for layer in range(L):
        y = head + layer * high
        pen.text((GAP, y + tile.height // 2 - SMALL // 2), f"layer {layer + 1}", INK, small)
        for h in range(H + 1):
            x = LABEL + h * wide
            drawn = heat(
                tile, shown[layer, h], trace.attention.placement, trace.model_input.shape[0]
            )
            page.paste(drawn, (x, y))
            share = f"{100 * grid[layer, h].sum():.0f} %"
            pen.text((x, y + tile.height + 1), share, fill=FADED, font=small)
    for i, line in enumerate(note):
        pen.text((GAP, head + L * high + GAP + i * (SMALL + 5)), line, fill=FADED, font=small)
    return page
