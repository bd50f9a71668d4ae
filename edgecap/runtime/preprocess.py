"""One image as one crop of a model's input, and images to be drawn on.

Specification: edgecap.runtime.image_processing.

Letters: h, w an image's height and width in px; S the model input's side in px.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from edgecap.bundle.image_spec import ImageSpec, letterboxed
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime import image_color, image_files, image_processing
from edgecap.runtime.image_arrays import MAX_PIXELS as MAX_PIXELS
from edgecap.runtime.image_files import ImageSource
from edgecap.runtime.image_kinds import SUFFIXES as SUFFIXES
from edgecap.runtime.image_processing import Box as Box
from edgecap.runtime.image_processing import Placement

ImageLike: TypeAlias = ImageSource
Letterbox = Placement  # where an image lies on the model input


def letterbox(width: int, height: int, size: int) -> Letterbox:
    """The placement of a w x h image on a size x size model input."""
    return image_processing.contain(width, height, (size, size))


def preprocess(image: ImageLike, spec: ImageSpec | None = None) -> tuple[np.ndarray, Letterbox]:
    """An image as the model's input uint8 [h,w,3], and where it lies there.

    `spec` comes from a manifest; without it, that of this package's own models.
    Raises InputError as image_files.load_image does, and UnsupportedError for an image that makes
    several crops.
    """
    processed = image_processing.process(image, spec or letterboxed())
    if len(processed.pixels) != 1:
        raise UnsupportedError(
            "image.crops",
            f"this bundle looks at an image in crops, {len(processed.pixels)} of this one, and "
            "here one is expected.",
            "Caption with it; or export with do_image_splitting false.",
        )
    return processed.pixels[0], processed.placement


def to_rgb(image: ImageLike, fill: int = 127) -> Image.Image:
    """Any image as an upright RGB image of its own size.

    Args:
        image: anything image_files.load_image takes.
        fill: the grey, 0-255, behind transparent pixels.

    Raises:
        InputError: as load_image; image.too_large also for an image that is only read at reduced
            size: see to_canvas.
    """
    loaded = image_files.load_image(image)
    if loaded.is_reduced:
        raise InputError(
            "image.too_large",
            f"an image of {loaded.width} x {loaded.height} pixels is too large to be shown whole; "
            f"at most {MAX_PIXELS:,} are decoded whole.",
            "Shrink it first.",
        )
    return image_color.to_rgb(loaded.image, fill, True, loaded.bits)


def to_canvas(image: ImageLike, fill: int = 127) -> tuple[Image.Image, float]:
    """Any image as upright RGB to be drawn on, and the length there of a px of the image.

    That is 1, and less where the image is only read at reduced size. Arguments and errors as of
    to_rgb.
    """
    loaded = image_files.load_image(image)
    rgb = image_color.to_rgb(loaded.image, fill, True, loaded.bits)
    return rgb, max(rgb.size) / max(loaded.width, loaded.height)


def read_file(path: Path) -> bytes:
    """The bytes of an image's file; InputError for what is no file, or cannot be read."""
    return image_files.read_image_file(path)
