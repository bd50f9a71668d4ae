"""Slicing tensors, and updating slices."""

from __future__ import annotations

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()


@OPS(exact=True)
def slice_by_index(
    x: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    stride: np.ndarray | None = None,
    begin_mask: np.ndarray | None = None,
    end_mask: np.ndarray | None = None,
    squeeze_mask: np.ndarray | None = None,
) -> np.ndarray:
    """x[begin:end:stride] in Python's sense; masks leave a bound open or take one element."""
    return x[_slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)]


@OPS(exact=True)
def slice_update(
    x: np.ndarray,
    update: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    stride: np.ndarray | None = None,
    begin_mask: np.ndarray | None = None,
    end_mask: np.ndarray | None = None,
    squeeze_mask: np.ndarray | None = None,
) -> np.ndarray:
    """x with that slice replaced by `update`."""
    out = x.copy()
    out[_slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)] = update
    return out


@OPS(exact=True)
def slice_by_size(x: np.ndarray, begin: np.ndarray, size: np.ndarray) -> np.ndarray:
    """x[begin : begin + size]; a size of -1 extends to the end."""
    cut = []
    for start, count, length in zip(begin.tolist(), size.tolist(), x.shape, strict=True):
        first = start + length if start < 0 else start
        last = length if count == -1 else first + count
        if not 0 <= first <= last <= length:
            raise ValueError(f"begin {begin.tolist()} and size {size.tolist()} leave {x.shape}")
        cut.append(slice(first, last))
    return x[tuple(cut)]


def _slices(
    x: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    stride: np.ndarray | None,
    begin_mask: np.ndarray | None,
    end_mask: np.ndarray | None,
    squeeze_mask: np.ndarray | None,
) -> tuple[slice | int, ...]:
    lists = [begin.tolist(), end.tolist()]
    lists.append([1] * x.ndim if stride is None else stride.tolist())
    for mask in (begin_mask, end_mask, squeeze_mask):
        lists.append([False] * x.ndim if mask is None else mask.tolist())
    if any(len(each) != x.ndim for each in lists):
        raise ValueError(f"bounds do not fit the rank of {list(x.shape)}")
    return tuple(
        first if single else slice(None if open_first else first, None if open_last else last, step)
        for first, last, step, open_first, open_last, single in zip(*lists, strict=True)
    )
