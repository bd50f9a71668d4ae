"""Pooling, 1-D to 3-D. Sums are kept in float32 and rounded once.

Letters as in windows.py.
"""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.registry import Registry
from edgecap.mil.ops.windows import Sizes, padded, paddings, sizes, windows

OPS = Registry()


@OPS(exact=True)
def max_pool(
    x: np.ndarray,
    kernel_sizes: np.ndarray,
    pad_type: str,
    strides: np.ndarray | None = None,
    pad: np.ndarray | None = None,
    ceil_mode: np.ndarray | bool = False,
) -> np.ndarray:
    covered = _pooled(x, -np.inf, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    return covered.max(_kernel_axes(x))


@OPS()
def avg_pool(
    x: np.ndarray,
    kernel_sizes: np.ndarray,
    pad_type: str,
    strides: np.ndarray | None = None,
    pad: np.ndarray | None = None,
    exclude_padding_from_average: np.ndarray | bool = False,
    ceil_mode: np.ndarray | bool = False,
) -> np.ndarray:
    """Elements that ceil_mode adds after the padding are excluded from averages, as in PyTorch."""
    options = (kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    total = _pooled(x, 0, *options).sum(_kernel_axes(x))  # [N,C,O]
    inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
    counted = 0 if exclude_padding_from_average else 1
    count = _pooled(inside, counted, *options).sum(_kernel_axes(x))  # [1,1,O]
    return total / count


@OPS()
def l2_pool(
    x: np.ndarray,
    kernel_sizes: np.ndarray,
    pad_type: str,
    strides: np.ndarray | None = None,
    pad: np.ndarray | None = None,
    ceil_mode: np.ndarray | bool = False,
) -> np.ndarray:
    covered = _pooled(np.square(x), 0, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    return np.sqrt(covered.sum(_kernel_axes(x)))


def _kernel_axes(x: np.ndarray) -> Sizes:
    return tuple(range(x.ndim, 2 * x.ndim - 2))


def _pooled(
    x: np.ndarray,
    value: float,
    kernel_sizes: np.ndarray,
    strides: np.ndarray | None,
    pad_type: str,
    pad: np.ndarray | None,
    ceil_mode: bool,
) -> np.ndarray:
    """Windows [N,C,O,K] of x [N,C,D], padded with `value` and, for ceil_mode, extended at the end.

    The extension is -inf if `value` is, else 0, so it changes no maximum and no sum.
    """
    rank = x.ndim - 2
    kernel, stride = sizes(kernel_sizes, rank, 1), sizes(strides, rank, 1)
    pads = paddings(pad_type, pad, x.shape[2:], kernel, stride)
    wide = padded(x, pads, value)
    if ceil_mode and pad_type in ("valid", "custom"):
        more = [
            _ceil_extra(size, k, s, before)
            for size, k, s, (before, _) in zip(wide.shape[2:], kernel, stride, pads, strict=True)
        ]
        wide = padded(wide, [(0, extra) for extra in more], value if math.isinf(value) else 0)
    return windows(wide, kernel, stride, (1,) * rank)


def _ceil_extra(size: int, kernel: int, stride: int, before: int) -> int:
    """Elements to add for a last, partial window; none if it would lie in the padding.

    `size` includes equal padding on both sides. Without padding the rule does not apply (MIL).
    """
    out = -(-(size - kernel) // stride) + 1
    if before and (out - 1) * stride >= size - before:
        out -= 1
    return max(0, (out - 1) * stride + kernel - size)
