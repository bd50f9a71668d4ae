"""An image to the bytes a model takes, by the ImageSpec of its bundle, and boxes back.

Specification, the same for every language. Divisions written // round down; int(x) drops the
fraction of a 64-bit float; (h, w) is the image's size after orientation by EXIF.

1. Colour. An embedded colour profile is converted to sRGB. With `background` set, transparent
   pixels are composited over that grey; else alpha is dropped. 16-bit and float values: `wide`.
   The result is 8-bit RGB.
2. Resize, by Pillow's filter of that name (its arithmetic: tests/support/resampling.py, 60 lines),
   columns first, then rows, each pass rounded to 8 bits and left out where its side stays, to
   - stretch: size.
   - cover: short edge size[0], long edge int(size[0] * long / short).
   - contain: let W/w be the smaller of the ratios size/image, and m = w (else H/h and m = h);
     each side becomes max(1, (side * W + m // 2) // m).
   - thumbnail: as cover with n = min(size); then, each side being a and size's A, where a > A in
     any: the longer side becomes min(a, A), the other int(other * that / longer).
   - longest_edge: r = w / h. The longer edge becomes size[0], the other int(size[0] / r) (or * r
     where the image is taller than wide), plus 1 where odd, at least 1.
3. Centre. contain and thumbnail are pasted at ((H - h) // 2, (W - w) // 2) on `fill`. `crop` cuts
   from ((h - H) // 2, (w - W) // 2); where that is outside, rows and columns of `fill` come in.
4. Crops (Idefics3). Without split: one resize to side x side. With: the longer edge is rounded up
   to a multiple of side, the other to a multiple after int(longer / r); the resized image is cut
   into cells; where there are several, one crop more: the resized image, resized to side x side.

Equal to the PIL image processors of transformers 5.23 before they rescale and normalise, to the
bit where Pillow resizes columns first: always before version 13, which takes rows first where that
is cheaper (tall images shrunk). Then values differ by a level, and by more at the few places where
bicubic or Lanczos overshoot 0 … 255 between the passes.

Letters: n crops, h and w height and width in px.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from PIL import Image

from edgecap.bundle.image_spec import Crops, ImageSpec
from edgecap.core.errors import InputError
from edgecap.runtime.image_arrays import MAX_PIXELS
from edgecap.runtime.image_color import to_rgb
from edgecap.runtime.image_files import ImageSource, load_image

Box: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the model's input (in the crop that shows all of it).

    `width` and `height` are those of the image as displayed, after EXIF orientation: boxes are in
    these pixels, origin in the upper left corner, x to the right.
    """

    width: int
    height: int
    left: int  # px from the input's left edge to the image's; negative where it is cut off
    top: int
    scaled_width: int  # px of the input that the whole image would cover
    scaled_height: int
    notes: tuple[str, ...] = ()  # what a reader should know of the image, such as a missing end

    def to_image(self, box: Box) -> Box:
        """A box in px of the input, in the image's pixels, clipped to the image."""
        x0, y0, x1, y1 = box
        across, down = self.width / self.scaled_width, self.height / self.scaled_height
        return (
            min(max((x0 - self.left) * across, 0.0), float(self.width)),
            min(max((y0 - self.top) * down, 0.0), float(self.height)),
            min(max((x1 - self.left) * across, 0.0), float(self.width)),
            min(max((y1 - self.top) * down, 0.0), float(self.height)),
        )

    def to_input(self, box: Box) -> Box:
        """A box in the image's pixels, in px of the input; the inverse of to_image inside it."""
        x0, y0, x1, y1 = box
        across, down = self.scaled_width / self.width, self.scaled_height / self.height
        return (
            x0 * across + self.left,
            y0 * down + self.top,
            x1 * across + self.left,
            y1 * down + self.top,
        )


@dataclass(frozen=True)
class ModelInput:
    """What a model sees of one image."""

    pixels: np.ndarray  # uint8 [n,h,w,3], C-contiguous
    grid: tuple[int, int]  # rows and columns of the crops before the one of all; (0, 0): no grid


@dataclass(frozen=True)
class ProcessedImage(ModelInput):
    """The same, and where the image lies in it."""

    placement: Placement
    notes: tuple[str, ...] = ()  # what a reader should know of the image, such as a missing end


def process(source: ImageSource, spec: ImageSpec, name: str = "") -> ProcessedImage:
    """An image as the crops that `encode` takes.

    Args:
        source: anything edgecap.runtime.image_files.load_image takes.
        spec: how, from the bundle's manifest.
        name: of bytes, in messages.

    Raises:
        InputError: as load_image; image.elongated where one edge is so much longer than the other
            that resizing would take more than MAX_PIXELS.
    """
    loaded = load_image(source, name)
    width, height = loaded.width, loaded.height
    rgb = to_rgb(loaded.image, spec.background, spec.wide == "high_byte", loaded.bits)
    resized = _fit(rgb, (height, width), spec)
    if spec.crops is not None:
        crops, grid = _cut(resized, spec.crops, spec)
        side = spec.crops.side
        placement = Placement(width, height, 0, 0, side, side)
    else:
        crop, left, top = _centre(np.asarray(resized), spec)  # [h,w,3]
        crops, grid = [crop], (0, 0)
        placement = Placement(width, height, left, top, resized.width, resized.height)
    placement = replace(placement, notes=loaded.notes)
    pixels = np.stack(crops)  # [n,h,w,3]
    if spec.channels == "BGR":
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    return ProcessedImage(pixels, grid, placement, loaded.notes)


def contain(width: int, height: int, size: tuple[int, int]) -> Placement:
    """Where fit `contain` puts a w x h image in an input of `size` (h, w)."""
    scaled_height, scaled_width = _contained(height, width, *size)
    left, top = (size[1] - scaled_width) // 2, (size[0] - scaled_height) // 2
    return Placement(width, height, left, top, scaled_width, scaled_height)


def _fit(image: Image.Image, whole: tuple[int, int], spec: ImageSpec) -> Image.Image:
    """The image, resized once or twice, by `fit`; `whole`: its (h, w) when not reduced."""
    h, w = whole
    H, W = spec.size
    if spec.fit == "stretch":
        return _resize(image, (H, W), spec)
    if spec.fit == "contain":
        return _resize(image, _contained(h, w, H, W), spec)
    if spec.fit == "longest_edge":
        return _resize(image, _longest_edge(h, w, H), spec)
    covered = _resize(image, _covering(h, w, min(H, W)), spec)
    if spec.fit == "cover":
        return covered
    return _resize(covered, _thumbnail(covered.height, covered.width, H, W), spec)


def _resize(image: Image.Image, size: tuple[int, int], spec: ImageSpec) -> Image.Image:
    """An image resized to (h, w), columns before rows.

    Two calls, because Pillow 13 chooses the order by cost and older ones do not: results that
    depend on an installation are no use to a bundle.
    """
    (w, h), (W, H) = image.size, size[::-1]
    if max(H, h) * W > MAX_PIXELS:
        raise InputError(
            "image.elongated",
            f"an image of {w} x {h} px would be resized to {W} x {H}; on the way at most "
            f"{MAX_PIXELS:,} pixels are made.",
            "Crop it first.",
        )
    if w != W:
        image = image.resize((W, h), _filter(spec))
    return image if h == H else image.resize((W, H), _filter(spec))


def _filter(spec: ImageSpec) -> Image.Resampling:
    return Image.Resampling[spec.filter.upper()]


def _contained(h: int, w: int, H: int, W: int) -> tuple[int, int]:
    # The side that fills its own decides; integers throughout, so that every language agrees.
    fill, m = (W, w) if W * h <= H * w else (H, h)
    return max(1, (h * fill + m // 2) // m), max(1, (w * fill + m // 2) // m)


def _covering(h: int, w: int, edge: int) -> tuple[int, int]:
    longer = int(edge * max(h, w) / min(h, w))
    return (longer, edge) if w <= h else (edge, longer)


def _thumbnail(h: int, w: int, H: int, W: int) -> tuple[int, int]:
    inner_h, inner_w = min(h, H), min(w, W)
    if (inner_h, inner_w) == (h, w):
        return h, w
    if h > w:
        inner_w = int(w * inner_h / h)
    elif w > h:
        inner_h = int(h * inner_w / w)
    return max(1, inner_h), max(1, inner_w)


def _longest_edge(h: int, w: int, edge: int) -> tuple[int, int]:
    ratio = w / h
    other = int(edge / ratio) if w >= h else int(edge * ratio)
    other = max(1, other + other % 2)
    return (other, edge) if w >= h else (edge, other)


def _centre(pixels: np.ndarray, spec: ImageSpec) -> tuple[np.ndarray, int, int]:
    """The middle of pixels [h,w,3], cut or padded to the input, and where its corner lies there.

    The corner is (left, top) in px of the input, negative where the image is cut off.
    """
    H, W = spec.input_size
    h, w = pixels.shape[:2]
    if spec.crop is not None:
        top, left = _cut_offset(h, H), _cut_offset(w, W)
    else:
        top, left = (H - h) // 2, (W - w) // 2
    if (h, w) == (H, W):
        return pixels, 0, 0
    centred = np.full((H, W, 3), spec.fill, np.uint8)  # [H,W,3]
    rows, columns = slice(max(top, 0), top + h), slice(max(left, 0), left + w)
    part = pixels[max(-top, 0) : H - top, max(-left, 0) : W - left]
    centred[rows, columns] = part
    return centred, left, top


def _cut_offset(side: int, crop: int) -> int:
    """Where the image begins in its centre crop, along one side: minus what is cut off.

    Rounds as transformers' center_crop: down where it cuts, up where it pads.
    """
    return -((side - crop) // 2)


def _cut(
    image: Image.Image, crops: Crops, spec: ImageSpec
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Crops uint8 [side,side,3] of a resized image, and the grid they form."""
    side = crops.side
    if not crops.split:
        return [np.asarray(_resize(image, (side, side), spec))], (0, 0)
    h, w = image.height, image.width
    ratio = w / h
    if w >= h:
        w = _multiple(w, side)
        h = _multiple(int(w / ratio), side)
    else:
        h = _multiple(h, side)
        w = _multiple(int(h * ratio), side)
    image = _resize(image, (h, w), spec)
    pixels = np.asarray(image)  # [h,w,3]
    rows, columns = h // side, w // side
    cells = [
        pixels[r * side : (r + 1) * side, c * side : (c + 1) * side]
        for r in range(rows)
        for c in range(columns)
    ]
    if len(cells) == 1:
        return cells, (0, 0)
    return [*cells, np.asarray(_resize(image, (side, side), spec))], (rows, columns)


def _multiple(length: int, side: int) -> int:
    """The multiple of side at or above length, at least one."""
    return max(1, math.ceil(length / side)) * side
