"""A contact sheet: the query and the results of a search in one image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from edgecap.apps.retrieval.search import Hit
from edgecap.core.errors import InputError
from edgecap.core.printable import printable
from edgecap.runtime.draw import COLOURS
from edgecap.runtime.fonts import font_for
from edgecap.runtime.preprocess import Box, ImageLike, to_canvas

TILE, GAP, LINE, COLUMNS = 176, 12, 20, 5  # px, px, px, tiles
MOST = 200  # tiles: few programs open a larger image
_PAPER, _INK, _FAINT, _EMPTY = "#FFFFFF", "#202020", "#606060", "#D8D8D8"


def contact_sheet(query: str | ImageLike, is_text: bool, hits: Sequence[Hit]) -> Image.Image:
    """The hits in rows of COLUMNS, each with its rank, its score and its file's name.

    An object that was found has a box. The query, a text or an image, is at the top. An image that
    can no longer be read has an empty tile with a note.
    """
    columns = max(1, min(COLUMNS, len(hits)))
    rows = -(-len(hits) // columns)
    head = LINE + 2 * GAP if is_text else TILE + LINE + 2 * GAP
    width = max(columns, 2) * (TILE + GAP) + GAP
    height = head + rows * (TILE + 2 * LINE + GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    if is_text:
        _write(pen, (GAP, GAP), str(query), width - 2 * GAP, _INK, LINE - 4)
    else:
        _write(pen, (GAP, GAP // 2), "images like", width - 2 * GAP, _INK, LINE - 4)
        sheet.paste(_thumbnail(query), (GAP, GAP + LINE))
    for i, hit in enumerate(hits):
        x = GAP + i % columns * (TILE + GAP)
        y = head + i // columns * (TILE + 2 * LINE + GAP)
        sheet.paste(_thumbnail(hit.path, hit.boxes), (x, y))
        _write(pen, (x, y + TILE + 2), f"{hit.rank}   {hit.score:.3f}", TILE, _INK, LINE - 6)
        _write(pen, (x, y + TILE + LINE), hit.path.name, TILE, _FAINT, LINE - 8)
    return sheet


def _thumbnail(image: ImageLike, boxes: Sequence[Box] = ()) -> Image.Image:
    """The whole image, centred in a square tile, with boxes given in px of the image."""
    tile = Image.new("RGB", (TILE, TILE), _EMPTY)
    try:
        rgb, factor = to_canvas(image)
    except InputError:
        _write(ImageDraw.Draw(tile), (GAP, TILE // 2), "not readable now", TILE, _FAINT, LINE - 6)
        return tile
    scale = TILE / max(rgb.size)
    size = tuple(max(1, round(side * scale)) for side in rgb.size)
    small = rgb.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    for box in boxes:
        area = [edge * factor * scale for edge in box]
        ImageDraw.Draw(small).rectangle(area, outline=COLOURS[0], width=2)
    tile.paste(small, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, room: int, ink: str, px: int
) -> None:
    """Write one line, truncated to `room` px."""
    shown = printable(text)
    font, _ = font_for(shown, px)
    cut = shown
    while cut and pen.textlength(cut + ("…" if cut != shown else ""), font=font) > room:
        cut = cut[:-1]
    pen.text(at, cut + ("…" if cut != shown else ""), fill=ink, font=font)
