"""Sliding windows over the last axes, for convolution and pooling.

Letters: N batch, C channels, D spatial sizes, K kernel sizes, O output sizes (tuples).
"""

from __future__ import annotations

import numpy as np

from edgecap.mil.ops.limits import limited

Sizes = tuple[int, ...]


def sizes(given: np.ndarray | None, rank: int, default: int) -> Sizes:
    """One number for each spatial axis."""
    found = (default,) * rank if given is None else tuple(int(each) for each in given)
    if len(found) != rank:
        raise ValueError(f"{list(found)} does not fit {rank} spatial axes")
    return found


def paddings(
    pad_type: str,
    pad: np.ndarray | None,
    spatial: Sizes,
    kernel: Sizes,  # dilated
    strides: Sizes,
) -> list[tuple[int, int]]:
    """(before, after) for each spatial axis.

    "same" gives ceil(D / stride) outputs and puts an odd element behind, "same_lower" before.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(spatial)
    if pad_type == "custom":
        flat = sizes(pad, 2 * len(spatial), 0)
        return list(zip(flat[::2], flat[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"pad_type {pad_type!r} is not known")
    found = []
    for size, width, stride in zip(spatial, kernel, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + width - size)
        small = total // 2
        found.append((small, total - small) if pad_type == "same" else (total - small, small))
    return found


def padded(x: np.ndarray, pads: list[tuple[int, int]], value: float) -> np.ndarray:
    """x [N,C,D] with `value` around its spatial axes."""
    if not any(before or after for before, after in pads):
        return x
    widths = [(0, 0), (0, 0), *pads]
    limited([size + sum(around) for size, around in zip(x.shape, widths, strict=True)])
    return np.pad(x, widths, constant_values=value)


def windows(x: np.ndarray, kernel: Sizes, strides: Sizes, dilations: Sizes) -> np.ndarray:
    """x [N,C,D], padded, to a view [N,C,O,K]."""
    spatial = tuple(range(2, x.ndim))
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, span, spatial)  # [N,C,O*stride,span]
    steps = [slice(None)] * 2
    steps += [slice(None, None, stride) for stride in strides]
    steps += [slice(None, None, dilation) for dilation in dilations]
    return view[tuple(steps)]
