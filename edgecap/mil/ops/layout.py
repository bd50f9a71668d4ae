"""Moving values without changing them: shapes, axes, joining, repeating."""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.limits import limited
from edgecap.mil.ops.registry import Registry

OPS = Registry()


@OPS(exact=True)
def reshape(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """-1 is inferred; 0 copies the size of x at that axis, if the ranks are equal."""
    sizes = [int(size) for size in shape]
    if len(sizes) == x.ndim:
        sizes = [size or old for size, old in zip(sizes, x.shape, strict=True)]
    return x.reshape(sizes)


@OPS(exact=True)
def transpose(x: np.ndarray, perm: np.ndarray) -> np.ndarray:
    return x.transpose([int(axis) for axis in perm])


@OPS(exact=True)
def expand_dims(x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, tuple(int(axis) for axis in axes))


@OPS(exact=True)
def squeeze(x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    """Axes whose size is not 1 are kept, as in PyTorch."""
    candidates = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
    return x.squeeze(tuple(axis for axis in candidates if x.shape[axis] == 1))


@OPS(exact=True)
def flatten2d(x: np.ndarray, axis: np.ndarray | int = 1) -> np.ndarray:
    axis = int(axis)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@OPS(exact=True)
def concat(
    values: list[np.ndarray], axis: np.ndarray, interleave: np.ndarray | bool = False
) -> np.ndarray:
    """Interleaved, element i of the first is followed by element i of the second."""
    axis_ = int(axis) % values[0].ndim
    if not interleave:
        return np.concatenate(values, axis_)
    shape = values[0].shape
    joined = np.stack(values, axis_ + 1)  # [...,d,n,...]
    return joined.reshape(*shape[:axis_], shape[axis_] * len(values), *shape[axis_ + 1 :])


@OPS(exact=True)
def stack(values: list[np.ndarray], axis: np.ndarray) -> np.ndarray:
    return np.stack(values, int(axis))


@OPS(exact=True)
def split(
    x: np.ndarray,
    axis: np.ndarray,
    num_splits: np.ndarray | None = None,
    split_sizes: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    if split_sizes is not None:
        if int(split_sizes.sum()) != x.shape[int(axis)]:
            raise ValueError(f"sizes {split_sizes.tolist()} do not add up to {x.shape[int(axis)]}")
        return tuple(np.split(x, np.cumsum(split_sizes)[:-1], int(axis)))
    if num_splits is None:
        raise ValueError("neither num_splits nor split_sizes is given")
    return tuple(np.split(x, int(num_splits), int(axis)))


@OPS(exact=True)
def tile(x: np.ndarray, reps: np.ndarray) -> np.ndarray:
    times = [int(count) for count in reps]
    limited([x.size, *times])
    return np.tile(x, times)


@OPS(exact=True)
def reverse(x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return np.flip(x, None if axes is None else tuple(int(axis) for axis in axes))


@OPS(exact=True)
def pad(
    x: np.ndarray,
    pad: np.ndarray,
    mode: str = "constant",
    constant_val: np.ndarray | float = 0.0,
) -> np.ndarray:
    """[before, after] of the last len(pad) / 2 axes."""
    given = np.asarray(pad).reshape(-1, 2).tolist()
    widths = [(0, 0)] * (x.ndim - len(given)) + [(before, after) for before, after in given]
    limited([size + sum(around) for size, around in zip(x.shape, widths, strict=True)])
    if mode == "constant":
        return np.pad(x, widths, constant_values=constant_val)
    if mode in ("reflect", "replicate"):
        return np.pad(x, widths, "reflect" if mode == "reflect" else "edge")
    raise ValueError(f"mode {mode!r} is not known")


@OPS(exact=True)
def pixel_shuffle(x: np.ndarray, upscale_factor: np.ndarray) -> np.ndarray:
    """x [N,C*f*f,H,W] to [N,C,H*f,W*f]."""
    f = int(upscale_factor)
    N, C, H, W = x.shape[0], x.shape[1] // f**2, x.shape[2], x.shape[3]
    parts = x.reshape(N, C, f, f, H, W).transpose(0, 1, 4, 2, 5, 3)  # [N,C,H,f,W,f]
    return parts.reshape(N, C, H * f, W * f)


@OPS(exact=True)
def band_part(
    x: np.ndarray, lower: np.ndarray | int = -1, upper: np.ndarray | int = -1
) -> np.ndarray:
    """Zero outside a band of each matrix [...,M,N]; a negative bound keeps that whole side."""
    row, column = np.indices(x.shape[-2:])  # [M,N]
    below = (int(lower) < 0) | (row - column <= int(lower))
    above = (int(upper) < 0) | (column - row <= int(upper))
    return np.where(below & above, x, 0)
