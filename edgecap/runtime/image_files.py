"""Opening an image from wherever it comes: a path, bytes, an open file, a Pillow image, an array.

The result is upright (EXIF orientation applied), in sRGB where the file has a colour profile, and
keeps its mode; edgecap.runtime.image_processing turns it into what a model takes. Every refusal is
an InputError of one line. No lock is held anywhere: threads decode side by side.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from edgecap.core.errors import EdgecapError, InputError, one_line
from edgecap.runtime.image_arrays import MAX_PIXELS, Pixels, dimensions, from_array, is_array
from edgecap.runtime.image_color import to_srgb
from edgecap.runtime.image_kinds import kind_of
from edgecap.runtime.image_large import MOST_PIXELS, read_reduced, shrink_factor
from edgecap.runtime.image_plugins import damaged, parse, suppress_plugin_warnings
from edgecap.runtime.urls import check_url, is_url

# Also a binary file that is open for reading, a tensor of torch, and a function that gives one of
# these: what takes time (a URL) is then done when its turn comes.
ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Pixels | Any"

_MAX_BYTES = 1 << 30  # of a file: more than MAX_PIXELS take in any format
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_MOST_FRAMES = 64  # that are looked at for one that shows something
_END = b"\xff\xd9"  # of a JPEG file
_SCAN = b"\xff\xda"  # the marker before the pixels
_BITS_PER_SAMPLE, _MAX_SAMPLE = 258, 281  # TIFF tags, as the next two
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # nothing is printed unless the application configures it


@dataclass(frozen=True)
class LoadedImage:
    """An upright image, and what a reader should know about it."""

    image: Image.Image  # of any mode
    width: int  # px of the whole image as displayed; `image` is smaller where it is very large
    height: int
    bits: int | None = None  # of a value stored in 16, where the file states it
    notes: tuple[str, ...] = ()

    @property
    def is_reduced(self) -> bool:
        return self.image.size != (self.width, self.height)


@dataclass
class _Decoded:
    image: Image.Image
    size: tuple[int, int]  # as stored, before reduction
    notes: list[str]


def is_image(value: object) -> bool:
    """Whether this is one image, and not a sequence of them (a batch array is one)."""
    if is_array(value) and not isinstance(value, Image.Image):
        return dimensions(value) < 4
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    return (
        isinstance(value, kinds)
        or hasattr(value, "read")
        or (callable(value) and not isinstance(value, type))
    )


def open_image(source: ImageSource) -> Image.Image:
    """The image of `load_image` alone."""
    return load_image(source).image


def load_image(source: ImageSource, name: str = "") -> LoadedImage:
    """An upright Pillow image, loaded, of whatever mode it has.

    Args:
        source: a path, the bytes of an image file, a binary file open for reading, a Pillow image;
            pixels: an array or tensor [h,w], [h,w,1], [h,w,3] or [h,w,4] of uint8, bool, uint16 or
            float in 0 … 1, or image_arrays.Pixels, which describes other layouts; or a
            function that gives one of these.
        name: of bytes, in messages.

    Of an animation the first frame that is not empty (of one colour) is taken. An image of more
    than MAX_PIXELS is decoded at reduced size where its format can be (see image_large).

    Raises:
        InputError: image.missing, image.url, image.empty, image.truncated, image.unreadable,
            image.too_large, image.package, image.array or image.type, each with one line.
    """
    if isinstance(source, Image.Image):
        return _given(source)
    if is_array(source):
        image = from_array(source)
        return LoadedImage(image, *image.size)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(bytes(source), name or f"what was given, {len(source)} bytes,")
    if isinstance(source, str):
        if not source:
            raise nameless()
        if is_url(source):
            check_url(source, allowed=False)
    if isinstance(source, (str, os.PathLike)):
        return _open(read_image_file(Path(source)), str(source))
    if hasattr(source, "read"):
        return _open(*_read_open(source))
    if callable(source) and not isinstance(source, type):
        return load_image(source(), name)
    raise InputError(
        "image.type",
        "an image must be a path, bytes, an open file, a Pillow image or an array; got "
        f"{type(source).__name__}.",
    )


def nameless() -> InputError:
    """The refusal of an empty name, which Path would make the working directory."""
    return InputError("image.missing", "an image needs a name, and it is empty.")


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file; InputError for what is no file, or cannot be read."""
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise InputError(
                "image.missing",
                f"{path} is a device or a pipe, not a file.",
                "Give - to read an image from standard input.",
            )
        if status.st_size > _MAX_BYTES:
            raise _too_many_bytes(str(path), status.st_size)
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError("image.missing", f"{path} does not exist.") from None
    except IsADirectoryError:
        raise InputError("image.missing", f"{path} is a directory, not an image.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("image.missing", f"{path} cannot be read: {reason}.") from None


def _read_open(file: Any) -> tuple[bytes, str]:
    name = f"the open file {getattr(file, 'name', type(file).__name__)}"
    try:
        data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: closed, or text that is none
        raise InputError("image.missing", f"{name} cannot be read: {one_line(error)}") from None
    if not isinstance(data, (bytes, bytearray)):
        raise InputError("image.type", f"{name} gives text.", "Open it with mode 'rb'.")
    if len(data) > _MAX_BYTES:
        raise _too_many_bytes(name, len(data))
    if not data and _position(file):
        raise InputError("image.empty", f"{name} is at its end.", "Call its seek(0) first.")
    return bytes(data), name


def _position(file: Any) -> int:
    """Where an open file is; 0 for a pipe."""
    try:
        return int(file.tell())
    except (AttributeError, OSError, ValueError):
        return 0


def _open(data: bytes, name: str) -> LoadedImage:
    if not data:
        raise InputError("image.empty", f"{name} is empty.")
    suppress_plugin_warnings()
    try:
        decoded = _decode_ended(data, name)
        loaded = _upright(decoded)
    except (EdgecapError, MemoryError):  # MemoryError: the machine's fault, not the image's
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers stumble over
        raise damaged(f"{name} is damaged", one_line(error)) from None
    for note in loaded.notes:
        _log.warning("%s: %s", name, note)
    return loaded


def _given(image: Image.Image) -> LoadedImage:
    """A Pillow image, which is not changed."""
    _check_size("the image", image.size, MAX_PIXELS)
    suppress_plugin_warnings()
    try:
        image.load()
        return _upright(_Decoded(image, image.size, []))
    except (EdgecapError, MemoryError):
        raise
    except Exception as error:  # as above
        raise damaged("the image is damaged", one_line(error)) from None


def _decode_ended(data: bytes, name: str) -> _Decoded:
    """`_decode`, also of a JPEG that lacks nothing but the marker at its end, which is noted.

    Decoders take zeros for pixels: those that an interrupted copy leaves at the end are cut off,
    but for one, since pixels can end with a zero.
    """
    if kind_of(data) != "JPEG":
        return _decode(data, name)
    data = data[: len(data.rstrip(b"\0")) + 1]
    try:
        decoded = _decode(data, name)
        ends = _has_end(data)
    except OSError as error:
        # "broken": by a byte of the marker, which would stand twice.
        data, ends = data.removesuffix(_END[:1]), False
        if not any(word in str(error) for word in ("truncated", "broken")):
            raise
        # Where every pixel is there, decoders ignore what comes before the marker; where some are
        # missing, it becomes those.
        decoded = _decode(data + _END, name)
        if _decode(data + b"\x55" * 4096 + _END, name).image != decoded.image:
            raise
    if not ends:
        decoded.notes.append("the marker at its end is missing; every pixel was there")
    return decoded


def _has_end(data: bytes) -> bool:
    """Whether a JPEG that was decoded has its end marker. Some decoders do without.

    It is looked for behind the segments before the pixels, which can hold a whole thumbnail.
    """
    place = 2
    while data[place : place + 1] == b"\xff" and data[place : place + 2] != _SCAN:
        # A marker, and the length of its segment; or one of the bytes that may fill the gap.
        fill = data[place + 1 : place + 2] == b"\xff"
        place += 1 if fill else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data.find(_END, place) >= 0


def _decode(data: bytes, name: str) -> _Decoded:
    image = parse(data, name)
    size = image.size
    _check_size(name, size, MOST_PIXELS)
    if size[0] * size[1] <= MAX_PIXELS:
        image.load()
        return _Decoded(image, size, [*_preview(image), *_show_something(image)])
    k = shrink_factor(*size)
    reduced = read_reduced(image, data, k)
    if reduced is None:
        raise InputError(
            "image.too_large",
            f"{name} is too large: {_pixels(size)}; at most {MAX_PIXELS:,} are decoded of such a "
            f"{image.format} file.",
            "Shrink it first, or save it as JPEG, which is read at reduced size.",
        )
    return _Decoded(reduced, size, [f"{_pixels(size)}; read at 1/{k} of its size"])


def _preview(image: Image.Image) -> list[str]:
    """A note about a raw file of a camera: what Pillow finds in it first is a small picture."""
    tags = getattr(image, "tag_v2", None)
    if tags is None or not (_DNG_VERSION in tags or tags.get(_SUBFILE_TYPE, 0) & 1):
        return []
    width, height = image.size
    return [f"a camera raw file; the preview of {width} x {height} that it holds is used"]


def _show_something(image: Image.Image) -> list[str]:
    """Turn an animation to its first frame that is not of one colour; a note about it."""
    frames = getattr(image, "n_frames", 1) if image.format in (*_ANIMATED, "TIFF") else 1
    if frames < 2:
        return []
    if image.format == "TIFF":
        return [f"the first of its {frames} pages is used"]
    shown = 0
    if _is_empty(image):
        shown = _first_shown(image, min(frames, _MOST_FRAMES))
    return [f"frame {shown + 1} of its {frames} is used"]


def _first_shown(image: Image.Image, frames: int) -> int:
    try:
        for frame in range(1, frames):
            image.seek(frame)
            image.load()
            if not _is_empty(image):
                return frame
    except (OSError, EOFError, SyntaxError):  # a later frame is damaged
        pass
    image.seek(0)
    image.load()
    return 0


def _is_empty(image: Image.Image) -> bool:
    """Whether an image is of one colour, or transparent everywhere."""
    if image.mode in ("RGBA", "LA", "PA") and image.getchannel("A").getextrema()[1] == 0:
        return True
    extrema: Any = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)


def _upright(decoded: _Decoded) -> LoadedImage:
    image, (width, height) = decoded.image, decoded.size
    bits = _bits(image)
    try:
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        upright = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF must not cost the image
        turned, upright = False, image.copy()
    if turned:
        width, height = height, width
    if upright.mode == "I" and image.format == "PNG":  # Pillow before 11: 16 bits in 32
        upright = Image.fromarray(np.asarray(upright).clip(0, 65535).astype(np.uint16))
    return LoadedImage(to_srgb(upright), width, height, bits, tuple(decoded.notes))


def _bits(image: Image.Image) -> int | None:
    """How many of 16 bits the values of a TIFF file use, by its tags."""
    tags = getattr(image, "tag_v2", None)
    if tags is None or not image.mode.startswith("I;16"):
        return None
    widths = [tags.get(_BITS_PER_SAMPLE, (16,))[0]]
    most = tags.get(_MAX_SAMPLE)
    widths += [int(m).bit_length() for m in (most if isinstance(most, tuple) else (most,)) if m]
    return min((bits for bits in widths if 8 <= bits < 16), default=None)


def _check_size(name: str, size: tuple[int, int], most: int) -> None:
    if min(size) < 1:
        raise InputError("image.empty", f"{name} has no pixels: {size[0]} x {size[1]}.")
    if size[0] * size[1] > most:
        raise InputError(
            "image.too_large",
            f"{name} is too large: {_pixels(size)}; at most {most:,} are decoded.",
            "Shrink it first.",
        )


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} = {size[0] * size[1]:,} pixels"


def _too_many_bytes(name: str, size: int) -> InputError:
    return InputError(
        "image.too_large",
        f"{name} has {size:,} bytes; at most {_MAX_BYTES:,} are read.",
        "Shrink it first.",
    )
