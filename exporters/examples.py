"""Random inputs of a graph function: to trace it with, and to compare its conversions on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecap.bundle.interface import Interface
from edgecap.models.adapter import GraphFunction

if TYPE_CHECKING:
    from torch import Tensor


def example_inputs(
    function: GraphFunction, interface: Interface, batch: int, seed: int = 1
) -> dict[str, Tensor]:
    """A value for every input, in order, of the shape and dtype of its spec.

    Integers are in the range that the contract allows: bytes, token ids, positions, lengths.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    dims = interface.dims
    most = {"image": 256, "position": dims.get("T"), "length": dims.get("N")}
    values = {}
    for name, spec in function.inputs.items():
        shape = interface.sizes(spec.shape, batch)
        dtype = getattr(torch, spec.dtype)
        if dtype.is_floating_point:
            values[name] = torch.randn(shape, generator=generator).to(dtype)
        else:
            least = 1 if name == "length" else 0
            limit = most.get(name) or dims["V"]
            values[name] = torch.randint(least, limit, shape, generator=generator).to(dtype)
    return values
