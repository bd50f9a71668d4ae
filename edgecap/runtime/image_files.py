"""Opening an image from wherever it comes: a path, bytes, a Pillow image, an array.

The result is upright (EXIF orientation applied) and keeps its mode; edgecap.runtime.
image_processing turns it into what a model takes. Every refusal is an InputError of one line.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from edgecap.core.errors import EdgecapError, InputError

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray"

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
# Warning filters are global to the process. Only headers are parsed under the lock, so that
# threads decode pixels side by side.
_header_lock = threading.Lock()


def open_image(source: ImageSource) -> Image.Image:
    """An upright Pillow image, loaded, of whatever mode it has.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array: [h,w], [h,w,1],
            [h,w,3] or [h,w,4] of uint8, bool, uint16 or float in 0 … 1.

    Raises:
        InputError: image.missing, image.empty, image.truncated, image.unreadable, image.too_large,
            image.array or image.type, each with one line.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _load(source, "the image")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(bytes(source), f"what was given, {len(source)} bytes,")
    if isinstance(source, (str, os.PathLike)):
        return _open(read_image_file(Path(source)), str(source))
    raise InputError(
        "image.type",
        f"an image must be a path, bytes, a Pillow image or an array; got {type(source).__name__}.",
    )


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file; InputError for what is no file, or cannot be read."""
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


def _open(data: bytes, name: str) -> Image.Image:
    if not data:
        raise InputError("image.empty", f"{name} is empty.")
    try:
        with _header_lock, warnings.catch_warnings():
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
        return _load(image, name)


def _load(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError("image.empty", f"{name} has no pixels: {width} x {height}.")
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"{width} x {height} =")
    try:
        image.load()
        return _upright(image)
    except (EdgecapError, MemoryError):
        raise
    except Exception as error:  # as above
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        code = "image.truncated" if "truncated" in reason.lower() else "image.unreadable"
        raise InputError(code, f"{name} is damaged: {reason}.") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        with _header_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF must not cost the image
        return image.copy()


def _too_large(name: str, size: str) -> InputError:
    return InputError(
        "image.too_large",
        f"{name} is too large: {size} pixels; at most {MAX_PIXELS:,} are decoded.",
        "Shrink it first.",
    )


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
