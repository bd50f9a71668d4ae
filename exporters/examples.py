"""Random inputs of a graph function: to trace it with, and to compare its conversions on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgecap.bundle.interface import IMAGE_LENGTH, Interface
from edgecap.models.adapter import GraphFunction

if TYPE_CHECKING:
    from torch import Tensor


def example_inputs(
    function: GraphFunction, interface: Interface, batch: int, seed: int = 1
) -> dict[str, Tensor]:
    """A value for every input, in order, of the shape and dtype of its spec.

    Integers are in the range that the contract allows: bytes, token ids, positions, lengths, grids.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    most = {"image": 256, **integer_limits(interface)}
    values = {}
    for name, spec in function.inputs.items():
        shape = interface.sizes(spec.shape, batch)
        dtype = getattr(torch, spec.dtype)
        if dtype.is_floating_point:
            values[name] = torch.randn(shape, generator=generator).to(dtype)
        else:
            least = 1 if name == "length" else 0
            values[name] = torch.randint(least, most[name], shape, generator=generator).to(dtype)
    return values


def integer_limits(interface: Interface) -> dict[str, int]:
    """What integers stay below, by the name of the input or state entry."""
    dims = interface.dims
    words = dims.get("V", dims.get("words", 2))
    return {
        "token": words,
        "tokens": words,
        "position": dims.get("T", 2),
        "length": dims.get("N", 1) + 1,
        "grid": math.isqrt(dims.get("n", 2) - 1) + 1,
        IMAGE_LENGTH: dims.get("P", 1) + 1,
    }
