"""Arrays and tensors of pixels as Pillow images.

Letters: h, w height and width in px, c channels.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from edgecap.core.choices import pick
from edgecap.core.errors import InputError, one_line

MAX_PIXELS = 89_478_485  # of a decoded image: 256 MiB at 3 bytes; Pillow's own warning limit
CHANNELS = ("rgb", "bgr")
LAYOUTS = ("hwc", "chw")


@dataclasses.dataclass(frozen=True, eq=False)
class Pixels:
    """An array of pixels and how to read it, where that is not the usual way.

    Args:
        array: a NumPy array or a tensor: [h,w] or, in the order of `layout`, c = 1, 3 or 4.
        channels: "rgb", or "bgr" as OpenCV and camera drivers have it; a fourth one is alpha.
        layout: "hwc", or "chw" as torch has it.
        white: the value of full brightness, 0 being black: 255 for floats in 0 … 255, 4095 for a
            sensor of 12 bits. By default from the type: 255, 65535, True, and 1 for floats.

    Raises InputError: channels.unknown, layout.unknown, image.array.
    """

    array: Any
    channels: str = "rgb"
    layout: str = "hwc"
    white: float | None = None

    def __post_init__(self) -> None:
        pick("channels", self.channels, CHANNELS)
        pick("layout", self.layout, LAYOUTS)
        if self.white is not None and not 0 < self.white < float("inf"):
            raise InputError("image.array", f"white must be above 0, got {self.white}.")


def is_array(value: object) -> bool:
    """Whether this is an array, a tensor of torch or another package, or Pixels."""
    return isinstance(value, (Pixels, np.ndarray)) or hasattr(value, "__array__")


def dimensions(value: Any) -> int:
    """How many axes an array has: four are a batch."""
    array = value.array if isinstance(value, Pixels) else value
    return len(getattr(array, "shape", ()))


def from_array(value: Any) -> Image.Image:
    """An array, a tensor or Pixels as an image of mode L, RGB or RGBA.

    16-bit values give their high byte; with `white`, values are scaled and rounded.
    Raises InputError (image.array, image.too_large).
    """
    pixels = value if isinstance(value, Pixels) else Pixels(value)
    array = _ordered(_numpy(pixels.array), pixels)
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise InputError(
            "image.too_large",
            f"the array has {array.shape[1]} x {array.shape[0]} pixels; at most {MAX_PIXELS:,} "
            "are taken.",
            "Shrink it first.",
        )
    return Image.fromarray(np.ascontiguousarray(_to_bytes(array, pixels.white)))


def _numpy(array: Any) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return array
    try:
        if hasattr(array, "detach"):  # torch: a graph, another device, bfloat16
            array = array.detach().cpu()
            array = array.float() if str(array.dtype) == "torch.bfloat16" else array
        return np.asarray(array)
    except MemoryError:
        raise
    except Exception as error:  # each package has errors of its own
        raise InputError(
            "image.array", f"a {type(array).__name__} cannot be made an array: {one_line(error)}"
        ) from None


def _ordered(array: np.ndarray, pixels: Pixels) -> np.ndarray:
    """[h,w] or [h,w,c] in the order of red, green, blue."""
    shape = list(array.shape)
    if pixels.layout == "chw" and array.ndim == 3:
        array = array.transpose(1, 2, 0)  # [h,w,c]
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise InputError(
            "image.array",
            f"an array must be [h,w], [h,w,1], [h,w,3] or [h,w,4] and not empty; got {shape}.",
            _advice(array, pixels.layout),
        )
    if array.ndim == 3 and channels == 1:
        return array[..., 0]  # [h,w]
    if pixels.channels == "bgr" and channels > 1:
        return array[..., [2, 1, 0, 3][:channels]]
    return array


def _advice(array: np.ndarray, layout: str) -> str:
    if array.ndim == 4:
        return "It looks like a batch: give its images one by one."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and layout == "hwc":
        return "Where channels come first, say Pixels(array, layout='chw')."
    return ""


def _to_bytes(array: np.ndarray, white: float | None) -> np.ndarray:
    """Values of an array as uint8 of the same shape."""
    if array.dtype.kind not in "buif":
        raise _wrong_type(array)
    if white is not None:
        _check_range(array, white)
        return np.rint(array.astype(np.float32) * np.float32(255 / white)).astype(np.uint8)
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # in either byte order
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind == "f":
        _check_range(array, 1)
        return np.rint(array * 255).astype(np.uint8)
    raise _wrong_type(array)


def _wrong_type(array: np.ndarray) -> InputError:
    return InputError(
        "image.array",
        f"an array must be uint8, bool, uint16 or float; got {array.dtype}.",
        "For other numbers say which is full brightness: Pixels(array, white=255).",
    )


def _check_range(array: np.ndarray, white: float) -> None:
    low, high = array.min(), array.max()  # NaN where one is in it
    if not (low >= 0 and high <= white):
        kind = "a float array" if array.dtype.kind == "f" else "the array"
        raise InputError(
            "image.array",
            f"{kind} must hold values in 0 … {white:g}; got {low:g} … {high:g}.",
            "Say what is full brightness: Pixels(array, white=255)." if white == 1 else "",
        )
