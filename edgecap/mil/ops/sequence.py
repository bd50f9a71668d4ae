"""Tensors made from sizes, and sorting along an axis."""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.limits import limited
from edgecap.mil.ops.registry import Registry

OPS = Registry()


@OPS(exact=True)
def shape(x: np.ndarray) -> np.ndarray:
    return np.array(x.shape, np.int32)


@OPS(exact=True)
def fill(shape: np.ndarray, value: np.ndarray | float = 0.0) -> np.ndarray:
    return np.full(limited(shape.tolist()), value, _plain(value))


@OPS(exact=True)
def fill_like(ref_tensor: np.ndarray, value: np.ndarray | float = 0.0) -> np.ndarray:
    return np.full(ref_tensor.shape, value, _plain(value))


def _plain(value: np.ndarray | float) -> np.dtype | None:
    """The dtype of a Python default, so that it is not 64 bits wide; None: the value's own."""
    return None if isinstance(value, np.ndarray | np.generic) else np.dtype(np.float32)


@OPS()
def range_1d(start: np.ndarray, end: np.ndarray, step: np.ndarray) -> np.ndarray:
    first, last, by = float(start), float(end), float(step)
    limited([max(0, math.ceil((last - first) / by))])
    return np.arange(first, last, by).astype(start.dtype)


@OPS(exact=True)
def one_hot(
    indices: np.ndarray,
    one_hot_vector_size: np.ndarray,
    axis: np.ndarray | int = -1,
    on_value: np.ndarray | int = 1,
    off_value: np.ndarray | int = 0,
) -> np.ndarray:
    """Adds an axis of size `one_hot_vector_size`; an index out of range sets no on_value."""
    n = int(one_hot_vector_size)
    limited([np.size(indices), n])
    hot = np.asarray(indices)[..., None] == np.arange(n)  # [...,n]
    return np.where(np.moveaxis(hot, -1, int(axis)), on_value, off_value)


@OPS()
def cumsum(
    x: np.ndarray,
    axis: np.ndarray | int = 0,
    exclusive: np.ndarray | bool = False,
    reverse: np.ndarray | bool = False,
) -> np.ndarray:
    axis = int(axis)
    values = np.flip(x, axis) if reverse else x
    if exclusive:  # by shifting: subtracting x again would lose precision
        along = np.moveaxis(values, axis, 0)
        values = np.moveaxis(np.concatenate([np.zeros_like(along[:1]), along[:-1]]), 0, axis)
    total = np.cumsum(values, axis, dtype=x.dtype)
    return np.flip(total, axis) if reverse else total


@OPS(exact=True)
def non_zero(x: np.ndarray) -> np.ndarray:
    """[n, rank]: the indices of the nonzero elements."""
    return np.argwhere(x)


@OPS(exact=True)
def argsort(
    x: np.ndarray, axis: np.ndarray | int = -1, ascending: np.ndarray | bool = False
) -> np.ndarray:
    """Stable: equal values keep their order."""
    return _order(x, int(axis), bool(ascending))


@OPS(exact=True)
def topk(
    x: np.ndarray,
    k: np.ndarray | int = 1,
    axis: np.ndarray | int = -1,
    ascending: np.ndarray | bool = False,
    sort: np.ndarray | bool = True,
    return_indices: np.ndarray | bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[np.ndarray, ...]:
    """The k largest (with `ascending`, smallest) values and their indices; always sorted."""
    axis = int(axis)
    chosen = np.take(_order(x, axis, bool(ascending)), np.arange(int(k)), axis)
    values = np.take_along_axis(x, chosen, axis)
    return (values, chosen) if return_indices else (values,)


def _order(x: np.ndarray, axis: int, ascending: bool) -> np.ndarray:
    if ascending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - backwards, axis)
