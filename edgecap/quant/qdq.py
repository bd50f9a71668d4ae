"""A captioner whose exported program carries a plan's grids as quantise and dequantise operations.

For converters that take a program as it is (CoreML). Weights stay float: the converter stores them
as int8 afterwards, by the rounding of rounding.rows. The weights of a w8a8 layer are handed over as
the integers of that rounding times a power of two, which float16 holds exactly, so every format
adds up the same numbers; the scale of each row comes after the output's grid.

Letters: D inputs and N outputs of a layer, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.ao.quantization.fx import _decomposed  # noqa: F401 -- registers the operations

from edgecap.quant.params import HIGH, LOW, QuantParams
from edgecap.quant.plan import Plan
from edgecap.quant.simulate import integer_rows
from edgecap.quant.subject import Subject


def insert_qdq(subject: Subject, plan: Plan) -> Any:
    """`subject`, smoothed already, with the plan's grids marked in it; as `Subject.tapped`."""
    static = [name for name, layer in plan.layers.items() if layer.kind == "w8a8"]
    whole, hook = subject.with_own(static), QdqHook(plan)
    weights = whole.weights()
    with torch.no_grad():
        for name in static:
            weights[name].copy_(hook.quantize_weight(name, weights[name]))
    return whole.tapped(hook)


class QdqHook:
    """A hook that marks where activations are int8."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._units: dict[str, tuple[float, Tensor]] = {}  # unit, and scales [N] over it

    def quantize_weight(self, layer: str, weight: Tensor) -> Tensor:
        """The weights [N,D] that the layer shall be given: integers times a power of two."""
        integers, scale = integer_rows(weight)  # [N,D], [N]
        unit = float(scale.log2().mean().round().exp2())  # so that sums stay as large as they were
        self._units[layer] = unit, scale / unit
        return integers * unit

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        grids = self._plan.grids(layer, function)
        if grids is None:
            return F.linear(x, weight)
        unit, rest = self._units[layer]  # [N]
        x = _on(grids.input, x)  # [...,D]
        y = F.linear(x, weight)  # [...,N]
        return _on(QuantParams(grids.output.scale * unit, grids.output.zero_point), y) * rest

    def stored(self, layer: str, weight: Tensor) -> Tensor:
        return weight


def _on(grid: QuantParams, x: Tensor) -> Tensor:
    """x of any shape on the grid, marked by the two operations that put it there."""
    operations, bounds = torch.ops.quantized_decomposed, (LOW, HIGH, torch.int8)
    rounded = operations.quantize_per_tensor(  # int8, of the shape of x
        x, grid.scale, grid.zero_point, *bounds
    )
    return operations.dequantize_per_tensor(rounded, grid.scale, grid.zero_point, *bounds)
