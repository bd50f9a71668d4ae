"""Draws the boxes and phrases of a caption on its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageColor, ImageDraw

from edgecap.runtime.captions import Mention
from edgecap.runtime.fonts import Font, font_for
from edgecap.runtime.preprocess import ImageLike, to_canvas

# Distinguishable on light and dark images, also for colour-blind readers (Okabe and Ito).
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
SMALLEST = 448  # px of the longer side: smaller images are enlarged so that labels are legible

Area = tuple[float, float, float, float]  # x0, y0, x1, y1 in px of the drawing


@dataclass(frozen=True)
class Drawn:
    """The drawn image, and a note for the reader ("" if there is none)."""

    image: Image.Image
    note: str


def draw(image: ImageLike, mentions: Sequence[Mention]) -> Drawn:
    """Draw every box of a caption, labelled with its phrase.

    The result is upright RGB; small images are enlarged, and very large ones reduced. If no font
    covers the phrases, the boxes are numbered instead, and the note lists the phrase of each
    number.
    """
    rgb, factor = to_canvas(image)
    if (larger := SMALLEST / max(rgb.size)) > 1:
        width, height = (max(1, round(side * larger)) for side in rgb.size)
        rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
        factor *= larger
    pen = ImageDraw.Draw(rgb)
    line = max(2, round(max(rgb.size) / 220))
    labels = [mention.phrase for mention in mentions]
    font, covered = font_for("".join(labels), 5 * line + 4)
    note = ""
    if not covered:
        note = "No font for this script was found; labels are numbers: " + ", ".join(
            f"{i + 1} = {label}" for i, label in enumerate(labels)
        )
        labels = [str(i + 1) for i in range(len(labels))]
    boxes = [
        ([edge * factor for edge in box], labels[i], COLOURS[i % len(COLOURS)])
        for i, mention in enumerate(mentions)
        for box in mention.boxes
    ]
    for box, _, colour in boxes:
        pen.rectangle(box, outline=colour, width=line)
    taken: list[Area] = []
    for box, label, colour in boxes:  # after all boxes, so that no line crosses a label
        taken.append(_label(pen, box, label, colour, font, rgb.size, taken))
    return Drawn(rgb, note)


def _label(
    pen: ImageDraw.ImageDraw,
    box: Sequence[float],
    label: str,
    colour: str,
    font: Font,
    size: tuple[int, int],
    taken: Sequence[Area],
) -> Area:
    """Draw a label at the box, inside the image and, if possible, clear of other labels."""
    left, top, right, bottom = pen.textbbox((0, 0), label, font=font)
    width, height = right - left + 6, bottom - top + 6
    free_x, free_y = (max(side - tag, 0) for side, tag in zip(size, (width, height), strict=True))
    x = min(max(box[0], 0), free_x)
    above, inside, inside_bottom, below = box[1] - height, box[1], box[3] - height, box[3]
    places = [min(max(y, 0), free_y) for y in (above, inside, inside_bottom, below)]
    areas = [(x, y, x + width, y + height) for y in places]
    area = next((a for a in areas if not any(_overlap(a, other) for other in taken)), areas[0])
    pen.rectangle(area, fill=colour)
    red, green, blue = ImageColor.getrgb(colour)[:3]
    ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 150 else "white"
    pen.text((area[0] + 3 - left, area[1] + 3 - top), label, fill=ink, font=font)
    return area


def _overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
