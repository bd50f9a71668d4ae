"""Gathering and scattering by index.

Negative indices count from the end, as MIL defined before iOS 17; since then they are undefined,
as an index out of range has always been. Undefined indices are refused, so that mistakes in a
model are not hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()
ALLOW_NEGATIVE = ("CoreML5", "CoreML6")  # opsets of iOS 15 and 16


def refuse_negative(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The same operation, which raises ValueError for negative `indices`."""

    def checked(**inputs: Any) -> np.ndarray:
        if (np.asarray(inputs["indices"]) < 0).any():
            raise ValueError("negative indices are undefined from iOS 17 on")
        return compute(**inputs)

    return checked


@OPS(exact=True)
def gather(
    x: np.ndarray,
    indices: np.ndarray,
    axis: np.ndarray | int = 0,
    batch_dims: np.ndarray | int = 0,
    validate_indices: np.ndarray | bool = False,
) -> np.ndarray:
    """Slices of x along `axis`; the first `batch_dims` axes of x and indices are shared."""
    axis_, batch = int(axis) % x.ndim, int(batch_dims)
    indices = np.asarray(indices)
    if batch == 0:
        return np.take(x, indices, axis_)
    lead, tail = x.shape[:batch], indices.shape[batch:]
    if indices.shape[:batch] != lead:
        raise ValueError(f"batches {list(lead)} and {list(indices.shape[:batch])} differ")
    out = np.empty((*x.shape[:axis_], *tail, *x.shape[axis_ + 1 :]), x.dtype)
    for place in np.ndindex(*lead):
        out[place] = np.take(x[place], indices[place], axis_ - batch)
    return out


@OPS(exact=True)
def gather_along_axis(
    x: np.ndarray,
    indices: np.ndarray,
    axis: np.ndarray | int = 0,
    validate_indices: np.ndarray | bool = False,
) -> np.ndarray:
    return np.take_along_axis(x, indices.astype(np.int64), int(axis))


@OPS(exact=True)
def gather_nd(
    x: np.ndarray,
    indices: np.ndarray,
    batch_dims: np.ndarray | int = 0,
    validate_indices: np.ndarray | bool = False,
) -> np.ndarray:
    """x at the tuples along the last axis of indices."""
    batch = int(batch_dims)
    lead: tuple = np.indices(
        indices.shape[:batch], sparse=True
    )  # one [1,..,n,..,1] for each batch axis
    rest = indices.ndim - 1 - batch
    places = [each.reshape(*each.shape, *(1,) * rest) for each in lead]
    return x[(*places, *np.moveaxis(indices, -1, 0))]


_MODES: dict[str, Callable[[np.ndarray, tuple, np.ndarray], None]] = {
    "update": lambda out, where, updates: out.__setitem__(where, updates),
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _scattered(data: np.ndarray, where: tuple, updates: np.ndarray, mode: str) -> np.ndarray:
    if mode not in _MODES:
        raise ValueError(f"mode {mode!r} is not known")
    out = data.copy()
    _MODES[mode](out, where, updates)
    return out


@OPS()
def scatter(
    data: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    axis: np.ndarray | int = 0,
    mode: str = "add",
    validate_indices: np.ndarray | bool = False,
) -> np.ndarray:
    where = (slice(None),) * (int(axis) % data.ndim) + (indices,)
    return _scattered(data, where, updates, mode)


@OPS()
def scatter_along_axis(
    data: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    axis: np.ndarray | int = 0,
    mode: str = "add",
    validate_indices: np.ndarray | bool = False,
) -> np.ndarray:
    where: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    where[int(axis)] = indices
    return _scattered(data, tuple(where), updates, mode)


@OPS()
def scatter_nd(
    data: np.ndarray,
    indices: np.ndarray,
    updates: np.ndarray,
    mode: str = "add",
    validate_indices: np.ndarray | bool = False,
) -> np.ndarray:
    return _scattered(data, tuple(np.moveaxis(indices, -1, 0)), updates, mode)
