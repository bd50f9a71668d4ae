"""Convolution and its transpose, 1-D to 3-D. Sums are kept in float32 and rounded once.

Letters: N batch, G groups, C and J channels of a group (in, out), D spatial, K kernel, O output.
"""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.limits import limited
from edgecap.mil.ops.registry import Registry
from edgecap.mil.ops.windows import padded, paddings, sizes, windows

OPS = Registry()


@OPS()
def conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    strides: np.ndarray | None = None,
    pad_type: str = "valid",
    pad: np.ndarray | None = None,
    dilations: np.ndarray | None = None,
    groups: np.ndarray | int = 1,
) -> np.ndarray:
    """x [N,G*C,D], weight [G*J,C,K], bias [G*J] to [N,G*J,O]."""
    kernel, rank = weight.shape[2:], weight.ndim - 2
    stride, dilation = sizes(strides, rank, 1), sizes(dilations, rank, 1)
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    pads = paddings(pad_type, pad, x.shape[2:], span, stride)
    patches = windows(padded(x, pads, 0), kernel, stride, dilation)  # [N,G*C,O,K]
    N, G, C, out_sizes = x.shape[0], int(groups), weight.shape[1], patches.shape[2 : 2 + rank]
    J = weight.shape[0] // G
    grouped = patches.reshape(N, G, C, *out_sizes, *kernel)  # [N,G,C,O,K]
    behind = tuple(range(3 + rank, 3 + 2 * rank))
    front = tuple(range(3, 3 + rank))
    columns = grouped.transpose(0, 1, 2, *behind, *front)  # [N,G,C,K,O]
    columns = columns.reshape(N, G, C * math.prod(kernel), math.prod(out_sizes))  # [N,G,C*K,O]
    out = weight.reshape(G, J, C * math.prod(kernel)) @ columns  # [N,G,J,O]
    out = out.reshape(N, G * J, *out_sizes)
    if bias is not None:
        out += bias.reshape(-1, *(1,) * rank)
    return out


@OPS()
def conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    pad: np.ndarray | None = None,
    output_shape: np.ndarray | None = None,
    pad_type: str = "valid",
    strides: np.ndarray | None = None,
    dilations: np.ndarray | None = None,
    groups: np.ndarray | int = 1,
) -> np.ndarray:
    """x [N,G*C,D], weight [G*C,J,K] to [N,G*J,O]: each input adds the scaled kernel at its place.

    O = (D - 1) * stride + span, less what `pad` cuts off, or as output_shape says, the cut then
    beginning with pad ("custom") or with nothing.
    """
    kernel, rank, G = weight.shape[2:], weight.ndim - 2, int(groups)
    stride, dilation = sizes(strides, rank, 1), sizes(dilations, rank, 1)
    if pad_type not in ("valid", "custom"):
        raise ValueError(f"pad_type {pad_type!r} is not known for conv_transpose")
    pads = paddings(pad_type, pad, x.shape[2:], kernel, stride)
    N, D, C, J = x.shape[0], x.shape[2:], weight.shape[0] // G, weight.shape[1]
    spread = weight.reshape(G, C, J * math.prod(kernel)).swapaxes(1, 2)  # [G,J*K,C]
    parts = spread @ x.reshape(N, G, C, math.prod(D))  # [N,G,J*K,D]
    parts = parts.reshape(N, G * J, *kernel, *D)
    full = [
        (d - 1) * s + (k - 1) * e + 1
        for d, s, k, e in zip(D, stride, kernel, dilation, strict=True)
    ]
    kept_sizes = [size - before - after for size, (before, after) in zip(full, pads, strict=True)]
    if output_shape is not None:
        kept_sizes = [int(size) for size in output_shape[2:]]
    room = [
        max(size, before + out)
        for size, (before, _), out in zip(full, pads, kept_sizes, strict=True)
    ]
    out = np.zeros(limited((N, G * J, *room)), x.dtype)
    for place in np.ndindex(*kernel):
        where = tuple(
            slice(k * e, k * e + (d - 1) * s + 1, s)
            for k, e, d, s in zip(place, dilation, D, stride, strict=True)
        )
        out[:, :, *where] += parts[:, :, *place]
    cut = tuple(slice(b, b + size) for (b, _), size in zip(pads, kept_sizes, strict=True))
    out = out[:, :, *cut]
    return out if bias is None else out + bias.reshape(-1, *(1,) * rank)
