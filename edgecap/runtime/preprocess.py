"""Any image to the model's model_input, and boxes back to the image's pixels.

Specification, the same for every language: orient by EXIF; to 8-bit RGB (transparent pixels over
the fill grey, 16-bit values by their high byte, the first frame of an animation); resize so that
the longer side m equals `size`, each side becoming max(1, floor((side * size + floor(m / 2)) / m)),
with a triangle filter widened by the shrink factor (Pillow's BILINEAR, which antialiases), the
horizontal pass first, in 22-bit fixed point and rounded to 8 bits between the passes; paste at
(floor(free_x / 2), floor(free_y / 2)) on a model_input of the fill grey. Constants come from the
manifest.

Letters: h, w an image's height and width in px; S the model_input's side in px.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from edgecap.bundle.manifest import Preprocessing, standard_preprocessing
from edgecap.core.errors import EdgecapError, InputError

ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray"
Box: TypeAlias = tuple[float, float, float, float]

_MAX_BYTES = 1 << 30  # of a file: more than MAX_PIXELS take in any format
MAX_PIXELS = 89_478_485  # of a decoded image: 256 MiB at 3 bytes; Pillow's own warning limit
# Fewer than Pillow has: some of its plugins run other programs (EPS) or are seldom exercised.
_READ = (
    "PNG",
    "JPEG",
    "MPO",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "TGA",
    "ICO",
    "JPEG2000",
    "AVIF",
)
# Endings by which images are found in a directory: opening every file would take hours.
_ENDINGS = """
    .png .jpg .jpeg .jfif .mpo .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .tga .ico .jp2 .j2k
    .avif
"""
SUFFIXES = frozenset(_ENDINGS.split())
_decoder_lock = threading.Lock()  # warning filters are global


@dataclass(frozen=True)
class Letterbox:
    """Where an image lies on the model_input.

    `width` and `height` are those of the image as displayed, after EXIF orientation: boxes are in
    these pixels, origin in the upper left corner, x to the right.
    """

    width: int
    height: int
    left: int  # px of padding on the model_input
    top: int
    scaled_width: int  # px that the image covers on the model_input
    scaled_height: int

    def to_image(self, box: tuple[float, float, float, float]) -> Box:
        """A model_input box (x0, y0, x1, y1) in the image's pixels, clipped to the image."""
        x0, y0, x1, y1 = box
        across, down = self.width / self.scaled_width, self.height / self.scaled_height
        return (
            min(max((x0 - self.left) * across, 0.0), float(self.width)),
            min(max((y0 - self.top) * down, 0.0), float(self.height)),
            min(max((x1 - self.left) * across, 0.0), float(self.width)),
            min(max((y1 - self.top) * down, 0.0), float(self.height)),
        )

    def to_input(self, box: tuple[float, float, float, float]) -> Box:
        """A box in the image's pixels on the model_input; the inverse of to_image inside it."""
        x0, y0, x1, y1 = box
        across, down = self.scaled_width / self.width, self.scaled_height / self.height
        return (
            x0 * across + self.left,
            y0 * down + self.top,
            x1 * across + self.left,
            y1 * down + self.top,
        )


def letterbox(width: int, height: int, size: int) -> Letterbox:
    """The placement of a w x h image on a size x size model_input."""
    longer = max(width, height)
    scaled_width = max(1, (width * size + longer // 2) // longer)
    scaled_height = max(1, (height * size + longer // 2) // longer)
    left, top = (size - scaled_width) // 2, (size - scaled_height) // 2
    return Letterbox(width, height, left, top, scaled_width, scaled_height)


def preprocess(
    image: ImageLike, settings: Preprocessing | None = None
) -> tuple[np.ndarray, Letterbox]:
    """An image on the model_input: uint8 [S,S,3] and where it lies there. Errors as of to_rgb.

    `settings` come from a manifest; without them, those of this package's own models.
    """
    settings = settings or standard_preprocessing()
    rgb = to_rgb(image, settings.fill)
    where = letterbox(rgb.width, rgb.height, settings.size)
    # Two calls: Pillow 13 takes the vertical pass first for some sizes; one order everywhere.
    across = rgb.resize((where.scaled_width, rgb.height), Image.Resampling.BILINEAR)
    resized = across.resize((where.scaled_width, where.scaled_height), Image.Resampling.BILINEAR)
    model_input = np.full((settings.size, settings.size, 3), settings.fill, np.uint8)  # [S,S,3]
    rows = slice(where.top, where.top + where.scaled_height)
    columns = slice(where.left, where.left + where.scaled_width)
    model_input[rows, columns] = np.asarray(resized)
    return model_input, where


def to_rgb(image: ImageLike, fill: int = 127) -> Image.Image:
    """Any image as an upright RGB image of its own size.

    Args:
        image: a path, the bytes of an image file, a Pillow image, or an array: [h,w], [h,w,1],
            [h,w,3] or [h,w,4] of uint8, bool, uint16 (high byte taken) or float in 0 … 1.
        fill: the grey, 0-255, behind transparent pixels.

    Raises:
        InputError: image.missing, image.empty, image.truncated, image.unreadable, image.too_large,
            image.array or image.type, each with one line.
    """
    if isinstance(image, np.ndarray):
        return _flatten(_from_array(image), fill)
    if isinstance(image, Image.Image):
        return _decode(image, "the image", fill)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _open(bytes(image), f"what was given, {len(image)} bytes,", fill)
    if isinstance(image, (str, os.PathLike)):
        return _open(read_file(Path(image)), str(image), fill)
    raise InputError(
        "image.type",
        f"an image must be a path, bytes, a Pillow image or an array; got {type(image).__name__}.",
    )


def read_file(path: Path) -> bytes:
    """The bytes of an image's file; InputError for what is no file, or cannot be read."""
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise InputError("image.missing", f"{path} is a device or a pipe, not a file.")
        if status.st_size > _MAX_BYTES:
            raise InputError(
                "image.too_large",
                f"{path} has {status.st_size:,} bytes; at most {_MAX_BYTES:,} are read.",
                "Shrink it first.",
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError("image.missing", f"{path} does not exist.") from None
    except IsADirectoryError:
        raise InputError("image.missing", f"{path} is a directory, not an image.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("image.missing", f"{path} cannot be read: {reason}.") from None


def _open(data: bytes, name: str, fill: int) -> Image.Image:
    if not data:
        raise InputError("image.empty", f"{name} is empty.")
    try:
        with _decoder_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # plugins warn of oddities; too large is judged below
            Image.init()
            image = Image.open(io.BytesIO(data), formats=[f for f in _READ if f in Image.OPEN])
    except Image.DecompressionBombError:
        raise _too_large(name, "far more than") from None
    except MemoryError:  # the machine's fault, not the image's
        raise
    except Exception:  # Pillow's plugins raise whatever their parsers stumble over
        raise InputError(
            "image.unreadable", f"{name} is not an image.", f"Formats read: {', '.join(_READ)}."
        ) from None
    with image:
        return _decode(image, name, fill)


def _decode(image: Image.Image, name: str, fill: int) -> Image.Image:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError("image.empty", f"{name} has no pixels: {width} x {height}.")
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"{width} x {height} =")
    try:
        with _decoder_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            return _flatten(_upright(image), fill)
    except (EdgecapError, MemoryError):
        raise
    except Exception as error:  # as above
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        code = "image.truncated" if "truncated" in reason.lower() else "image.unreadable"
        raise InputError(code, f"{name} is damaged: {reason}.") from None


def _too_large(name: str, size: str) -> InputError:
    return InputError(
        "image.too_large",
        f"{name} is too large: {size} pixels; at most {MAX_PIXELS:,} are decoded.",
        "Shrink it first.",
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF must not cost the image
        return image


def _flatten(image: Image.Image, fill: int) -> Image.Image:
    """Any mode to RGB, transparent pixels over the fill grey."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_high_byte(np.asarray(image))).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # Pillow knows no shorter way
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (fill, fill, fill, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _high_byte(values: np.ndarray) -> np.ndarray:
    """Integers of 16 bits, or floats, [h,w] to uint8 [h,w]; 8-bit values in a wide type stay."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
        scaled = values * 255 if values.max() <= 1 else values
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    clipped = np.clip(values, 0, 65535)
    if values.dtype != np.uint16 and clipped.max() <= 255:
        return clipped.astype(np.uint8)
    return (clipped.astype(np.uint16) >> 8).astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise InputError(
            "image.array",
            f"an array must be [h,w], [h,w,1], [h,w,3] or [h,w,4] and not empty; got "
            f"{list(array.shape)}.",
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise _too_large("the array", f"{array.shape[1]} x {array.shape[0]} =")
    if array.ndim == 3 and channels == 1:
        array = array[..., 0]  # [h,w]
    return Image.fromarray(_to_bytes(array))


def _to_bytes(array: np.ndarray[Any, Any]) -> np.ndarray:
    """Values of an array image as uint8 of the same shape, C-contiguous."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise InputError("image.array", "a float array must hold values in 0 … 1.")
        return np.rint(array * 255).astype(np.uint8)
    raise InputError(
        "image.array", f"an array must be uint8, bool, uint16 or float; got {array.dtype}."
    )
