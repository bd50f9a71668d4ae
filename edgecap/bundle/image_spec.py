"""Image preprocessing as data: from an image to the uint8 pixels that `encode` takes.

A bundle's manifest holds one ImageSpec under `image`. It covers all steps up to uint8 pixels;
scale, mean and standard deviation are constants inside the graph. edgecap.runtime.image_processing
implements it; its docstring defines the arithmetic exactly, for ports to other languages.

Letters: n crops of one image, h and w the height and width of a crop in px.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecap.core.errors import BundleError
from edgecap.core.typed import decode

# contain: the whole image inside `size`, aspect kept, centred, the rest filled.
# cover: the shortest edge becomes size[0], aspect kept; then a centre `crop`.
# stretch: to exactly `size`, aspect lost.
# thumbnail: as cover with the smaller side of `size`, then shrunk into `size`, centred (Donut).
# longest_edge: the longest edge becomes size[0], then cut into crops (Idefics3, SmolVLM).
FITS = ("contain", "cover", "stretch", "thumbnail", "longest_edge")
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")  # as Pillow names them
CHANNELS = ("RGB", "BGR")
# clip: values above 255 become 255, as Pillow's convert does and so transformers.
# high_byte: 16-bit values lose their low byte.
WIDE = ("clip", "high_byte")
MAX_SIDE = 4096  # px, of a resized image or a crop


@dataclass(frozen=True)
class Crops:
    """How a resized image is split into crops.

    With `split`, the image is resized to multiples of `side` and cut into a grid of rows x columns
    crops, row by row, followed by one crop of the whole image; an image of a single cell has one
    crop. Without `split`, only the crop of the whole image.
    """

    side: int  # px, every crop is side x side
    split: bool


@dataclass(frozen=True)
class ImageSpec:
    """From an image to uint8 [n,h,w,3]. Fields are in the order of application."""

    size: tuple[int, ...]  # [h, w] in px, the target of `fit`
    fit: str  # one of FITS
    filter: str  # one of FILTERS
    background: int | None = None  # grey 0-255 behind transparent pixels; null: alpha is dropped
    wide: str = "clip"  # one of WIDE: conversion of 16-bit and float values
    crop: tuple[int, ...] | None = None  # [h, w] of a centre crop after `fit`; null: none
    fill: int = 0  # grey 0-255 of the area that the image does not cover
    channels: str = "RGB"  # one of CHANNELS, the order in the array
    crops: Crops | None = None  # null: the image is one crop

    @property
    def input_size(self) -> tuple[int, int]:
        """(h, w) in px of one crop, as `encode` takes it."""
        if self.crops is not None:
            return self.crops.side, self.crops.side
        h, w = self.crop or self.size
        return h, w

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Every (rows, columns) that images are cut into; none where an image is always one crop.

        The longer side has as many crops as fit on size[0], the shorter one any number up to that.
        """
        most = math.ceil(self.size[0] / self.crops.side) if self.crops is not None else 1
        if most == 1 or self.crops is None or not self.crops.split:
            return ()
        counts = range(1, most + 1)
        return (*((rows, most) for rows in counts), *((most, columns) for columns in counts[:-1]))

    @property
    def most_crops(self) -> int:
        """n: of the largest grid, and the one of the whole image."""
        return max((rows * columns + 1 for rows, columns in self.grids), default=1)


def letterboxed(side: int = 224, fill: int = 127) -> ImageSpec:
    """A whole image centred on a square of `side` px; around and behind it is the grey `fill`."""
    return ImageSpec(
        (side, side), "contain", "bilinear", background=fill, wide="high_byte", fill=fill
    )


def image_spec_from_json(value: Any, where: str = "image") -> ImageSpec:
    """A checked ImageSpec from plain JSON values.

    Raises BundleError: bundle.unknown_field for an unknown field that does not start with x_,
    bundle.missing_field, bundle.field_type, or bundle.image for invalid values.
    """
    spec = decode(ImageSpec, value, where)
    check_image_spec(spec, where)
    return spec


def image_spec_to_json(spec: ImageSpec) -> dict[str, Any]:
    """The plain JSON values of a spec; image_spec_from_json gives the same spec back."""
    return {
        "size": list(spec.size),
        "fit": spec.fit,
        "filter": spec.filter,
        "background": spec.background,
        "wide": spec.wide,
        "crop": None if spec.crop is None else list(spec.crop),
        "fill": spec.fill,
        "channels": spec.channels,
        "crops": None
        if spec.crops is None
        else {"side": spec.crops.side, "split": spec.crops.split},
    }


def check_image_spec(spec: ImageSpec, where: str = "image") -> None:
    """Raise BundleError (bundle.image) for an invalid spec."""
    _check_choice(f"{where}.fit", spec.fit, FITS)
    _check_choice(f"{where}.filter", spec.filter, FILTERS)
    _check_choice(f"{where}.channels", spec.channels, CHANNELS)
    _check_choice(f"{where}.wide", spec.wide, WIDE)
    _check_size(f"{where}.size", spec.size)
    for name, grey in (("fill", spec.fill), ("background", spec.background)):
        if grey is not None and not 0 <= grey <= 255:
            raise _bad(f"{where}.{name} is {grey}; allowed: 0-255")
    if spec.crop is not None:
        _check_size(f"{where}.crop", spec.crop)
    if spec.fit in ("cover", "longest_edge") and spec.size[0] != spec.size[1]:
        raise _bad(f"{where}.size must have two equal sides if fit is {spec.fit}")
    if spec.fit == "cover" and spec.crop is None:
        raise _bad(f"{where}.crop is required if fit is cover, to get a fixed size")
    if spec.crop is not None and spec.fit not in ("cover", "stretch"):
        raise _bad(f"{where}.crop is allowed with fit cover or stretch, not with {spec.fit}")
    if (spec.fit == "longest_edge") != (spec.crops is not None):
        raise _bad(f"{where}.crops is required with fit longest_edge, and allowed only with it")
    if spec.crops is not None:
        side = spec.crops.side
        _check_size(f"{where}.crops.side", (side, side))
        # longest_edge makes odd sides a pixel longer: one crop more than a grid has.
        if spec.crops.split and spec.size[0] % 2 and spec.size[0] % side == 0:
            raise _bad(f"{where}.size must be even where crops.side, {side}, divides it")


def _check_size(where: str, size: Sequence[int]) -> None:
    if len(size) != 2 or not all(1 <= side <= MAX_SIDE for side in size):
        raise _bad(f"{where} is {list(size)}; allowed: two sides of 1-{MAX_SIDE} px")


def _check_choice(where: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise _bad(f"{where} is {value!r}; allowed: {', '.join(allowed)}")


def _bad(message: str) -> BundleError:
    return BundleError("bundle.image", f"{message}.", "Export the bundle again.")
