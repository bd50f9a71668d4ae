"""Images to the model's input, to the bit: filters, letterbox, EXIF orientation, transparency.

Letters: h, w height and width in px; S side of the model's input in px.

Resizing is Pillow's fixed-point algorithm, spelled out so that no Pillow is needed:

- Sides are resampled one after the other, the horizontal pass first; a side that keeps its length
  is not resampled. Between the passes values are rounded to 8 bits.
- Per output place x of `out` from `in` places: scale = in / out, f = max(scale, 1), support = r * f
  with r = 0.5 box, 1 bilinear, 2 bicubic (a = -0.5), 3 lanczos; centre = (x + 0.5) * scale; first =
  max(0, (int)(centre - support + 0.5)); end = min(in, (int)(centre + support + 0.5)); weights
  filter((i - centre + 0.5) / f) for i in first ... end - 1, divided by their sum; doubles so far.
- Each weight becomes the integer (int)(w * 2^22 + 0.5), or - 0.5 where w < 0; a value is
  (2^21 + sum of weight * pixel) >> 22, clipped to 0 ... 255.

Pillow itself takes the vertical pass first for some sizes since 13.0; two calls of its `resize`,
the width in the first, follow these rules in every version.
"""

from __future__ import annotations

import numpy as np
from files import Topic, crc32, noise
from PIL import Image, ImageOps

from edgecap.bundle.image_spec import letterboxed
from edgecap.runtime.preprocess import letterbox, preprocess

FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
KEPT = 4096  # bytes of an output that is kept whole; of longer ones the CRC-32 alone

# (w, h) -> (w, h)
SIZES = [
    ((1, 1), (1, 1)),
    ((1, 1), (7, 5)),
    ((2, 3), (3, 2)),
    ((5, 7), (5, 7)),
    ((5, 7), (5, 3)),
    ((5, 7), (9, 7)),
    ((13, 11), (32, 32)),
    ((32, 24), (11, 8)),
    ((40, 30), (1, 1)),
    ((64, 3), (8, 1)),
    ((3, 64), (1, 8)),
    ((300, 2), (24, 1)),
    ((2, 300), (1, 24)),
    ((31, 97), (10, 32)),  # Pillow 13 would begin with the height
    ((97, 31), (32, 10)),
    ((256, 192), (224, 168)),
    ((101, 230), (98, 224)),
    ((640, 480), (224, 168)),
]
# (w, h, S)
LETTERBOXES = [
    (1, 1, 16),
    (1, 40, 16),
    (40, 1, 16),
    (16, 16, 16),
    (17, 16, 16),
    (33, 20, 32),
    (20, 33, 32),
    (31, 97, 32),
    (3, 1000, 32),
    (1000, 3, 32),
    (224, 224, 224),
    (223, 224, 224),
    (225, 223, 224),
    (640, 480, 224),
    (101, 333, 224),
    (100, 75, 384),
]
BOXES = [(0.0, 0.0, 4.0, 8.0), (8.0, 4.0, 16.0, 12.0), (-3.0, 2.0, 500.0, 900.0)]


def resizing() -> Topic:
    topic = Topic("resize", cases=(cases := []))
    for number, ((w, h), (to_w, to_h)) in enumerate(SIZES):
        source = noise(w, h, 3, number)  # [h,w,3]
        for name, kind in FILTERS.items():
            across = Image.fromarray(source).resize((to_w, h), kind)
            out = np.asarray(across.resize((to_w, to_h), kind))  # [to_h,to_w,3]
            kept = topic.keep(out) if out.size <= KEPT else {"crc32": crc32(out)}
            cases.append(
                {"filter": name, "from": [w, h], "seed": number, "to": [to_w, to_h], **kept}
            )
    return topic


def letterboxes() -> Topic:
    topic = Topic("letterbox", channels=3, cases=(cases := []))
    for number, (w, h, size) in enumerate(LETTERBOXES):
        fill = (127, 0, 255)[number % 3]
        image, where = preprocess(noise(w, h, 3, number), letterboxed(size, fill))  # [S,S,3]
        kept = topic.keep(image) if image.size <= KEPT else {"crc32": crc32(image)}
        assert where == letterbox(w, h, size)
        cases.append(
            {
                "from": [w, h],
                "seed": number,
                "size": size,
                "fill": fill,
                "left": where.left,
                "top": where.top,
                "scaled": [where.scaled_width, where.scaled_height],
                "boxes": [[list(box), list(where.to_image(box))] for box in BOXES],
                **kept,
            }
        )
    return topic


def pixels() -> Topic:
    """What becomes RGB, [h,w,3], before any resizing."""
    topic = Topic("pixels", orientations=(turned := []), formats=(flat := []))
    w, h = 5, 3
    source = noise(w, h, 3, 1)
    for orientation in range(1, 9):
        image = Image.fromarray(source)
        image.getexif()[0x0112] = orientation
        out = np.asarray(ImageOps.exif_transpose(image))
        turned.append(
            {
                "orientation": orientation,
                "from": [w, h],
                "seed": 1,
                "to": [out.shape[1], out.shape[0]],
                **topic.keep(out),
            }
        )
    # Every alpha meets several values: w * h = 256 * 5.
    for fill in (0, 127, 255):
        values = noise(256, 5, 4, fill)
        values[..., 3] = np.arange(256)[None]
        stored = topic.keep(values)["at"]
        flat.append(_flat(topic, "rgba", values, stored, fill))
        flat.append(_flat(topic, "bgra", values[..., [2, 1, 0, 3]], stored, fill, swapped=True))
    for fill in (127, 255):
        values = noise(256, 3, 2, fill)
        values[..., 1] = np.arange(256)[None]
        flat.append(_flat(topic, "grey_alpha", values, topic.keep(values)["at"], fill))
    for name, channels in (("grey", 1), ("rgb", 3), ("bgr", 3)):
        values = noise(9, 4, channels, 3)
        flat.append(_flat(topic, name, values, topic.keep(values)["at"], 127))
    return topic


def _flat(
    topic: Topic, name: str, values: np.ndarray, stored: int, fill: int, swapped: bool = False
) -> dict[str, object]:
    """A case of `formats`: source bytes at `source`, the RGB made of them at `at`."""
    h, w, channels = values.shape
    if name in ("bgr", "bgra"):
        # The bytes of the source are B, G, R; Pillow is given them in its own order.
        values = values if swapped else values[..., ::-1]
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    data = np.ascontiguousarray(values)
    image = Image.frombytes(modes[channels], (w, h), data.tobytes())
    whole, where = preprocess(image, letterboxed(max(w, h), fill))
    out = whole[where.top : where.top + h, where.left : where.left + w]
    return {
        "format": name,
        "size": [w, h],
        "channels": channels,
        "fill": fill,
        "source": stored,
        **topic.keep(out),
    }
