"""Attention of single layers and heads, for models exported with it.

Letters: L layers, H heads, P patches.
"""

from __future__ import annotations

from collections.abc import Callable

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
