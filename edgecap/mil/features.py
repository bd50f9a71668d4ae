"""Conversion between a caller's arrays and the evaluator's arrays."""

from __future__ import annotations

import numpy as np

from edgecap.core.errors import InputError
from edgecap.mil.dtypes import BY_NAME
from edgecap.mil.mil import Feature, Named, ValueType
from edgecap.mil.rounding import round_fp16, widen_fp16
from edgecap.mil.schedule import fits


def convert_input(named: Named, feature: Feature | None, given: np.ndarray) -> np.ndarray:
    """Convert a caller's array to an input of the program.

    Numbers of the same kind (floats, integers) are converted; integers must fit. An image feature
    also takes an image uint8 [H,W,3] or [1,H,W,3] in RGB ([H,W] for grayscale), like a pixel
    buffer: its values 0 … 255 become floats [1,C,H,W] in the declared channel order.

    Raises InputError: input.dtype, input.shape.
    """
    array = np.asarray(given)
    if feature is not None and feature.kind == "image" and array.dtype == np.uint8:
        array = _planes(array, feature.colour).astype(np.float32)
    type_ = named.type
    if not _convertible(array, type_):
        raise InputError(
            "input.dtype", f"{named.name} must be {type_}; got {array.dtype} {list(array.shape)}."
        )
    if not fits(array.shape, type_.shape):
        raise InputError(
            "input.shape", f"{named.name} must be {type_}; got {array.dtype} {list(array.shape)}."
        )
    if type_.dtype != "fp16":
        return array.astype(BY_NAME[type_.dtype].computed, copy=False)
    if array.dtype == np.float16:
        return widen_fp16(array)
    return round_fp16(array.astype(np.float32, copy=False))


def convert_output(type_: ValueType, array: np.ndarray) -> np.ndarray:
    """A copy of a result in its declared dtype."""
    return np.array(array, BY_NAME[type_.dtype].stored)


def _convertible(array: np.ndarray, type_: ValueType) -> bool:
    target = BY_NAME[type_.dtype].stored
    if target.kind not in "iu":
        return array.dtype.kind == target.kind
    if array.dtype.kind not in "iu":
        return False
    bounds = np.iinfo(target)
    same = array.dtype == target or array.size == 0
    return same or bool(bounds.min <= array.min() and array.max() <= bounds.max)


def _planes(image: np.ndarray, colour: str) -> np.ndarray:
    """uint8 [(1),H,W,3] or [H,W] to [1,C,H,W]; any other shape is returned unchanged."""
    if colour.startswith("grayscale"):
        return image[None, None] if image.ndim == 2 else image
    if image.ndim not in (3, 4) or image.shape[-1] != 3:
        return image
    channels = image[..., ::-1] if colour == "bgr" else image
    whole = channels if image.ndim == 4 else channels[None]  # [1,H,W,3]
    return whole.transpose(0, 3, 1, 2)
