"""Attention of single layers and heads, and how much of the image a caption looked at.

Letters: L layers, H heads, P patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgecap.bundle.interface import Interface
from edgecap.core.errors import InputError
from edgecap.runtime.graphs import check_attention


def selection(
    interface: Interface, layer: int | None, head: int | None
) -> Callable[[np.ndarray | None], np.ndarray] | None:
    """A function from the attention of a step, f32 [L,H,P], to that of a layer or head, f32 [P].

    None if no layer is requested. Raises InputError for an index out of range or a head without a
    layer, UnsupportedError for a model exported without attention per head.
    """
    if layer is None and head is None:
        return None
    if not {"L", "H"} <= interface.dims.keys():
        check_attention(interface)
    for what, index, size in (("layer", layer, "L"), ("head", head, "H")):
        count = interface.dims[size]
        if index is not None and not 0 <= index < count:
            raise InputError(
                f"attention.{what}", f"{what} must be in 0 … {count - 1}, got {index}."
            )
    if layer is None:
        raise InputError(
            "attention.layer", f"head {head} needs a layer.", "Give the layer as well."
        )
    check_attention(interface)

    def selected(attention: np.ndarray | None) -> np.ndarray:
        assert attention is not None  # decode_attention returns it
        return attention[layer].mean(0) if head is None else attention[layer, head]

    return selected


def focus(steps: Sequence[np.ndarray | None]) -> float | None:
    """How concentrated the attention of the steps of a caption is, on average: 0 … 1.

    0 is even over all patches, 1 is on a single one: 1 - entropy / log(P), of each step's f32 [P],
    or the mean over layers and heads of [L,H,P], divided by its sum. None without steps, and for a
    model that gives no attention.
    """
    found = [step for step in steps if step is not None]
    if not found or len(found) < len(steps) or found[0].shape[-1] < 2:
        return None
    P = found[0].shape[-1]
    rows = np.stack([step.reshape(-1, P).mean(0) for step in found]).astype(np.float64)  # [n,P]
    sums = rows.sum(1, keepdims=True)  # [n,1]
    shares = np.divide(rows, sums, where=sums > 0, out=np.full_like(rows, 1 / P))  # [n,P]
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))  # [n,P]
    entropies = -(shares * logs).sum(1)  # [n]
    return float(1 - entropies.mean() / math.log(P))
