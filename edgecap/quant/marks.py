"""A captioner whose exported program carries a plan's grids as quantise and dequantise operations.

For converters that take a program as it is (CoreML). Weights stay float: the converter stores them
as int8 afterwards, by the rounding of rounding.rows. A w8a8 layer's output is divided by the scale
of its row and of its grid first, so that one grid of step 1 serves all rows.

Letters: D inputs and N outputs of a layer, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.ao.quantization.fx import _decomposed  # noqa: F401 -- registers the operations

from edgecap.model.captioner import Captioner
from edgecap.quant.grid import HIGH, LOW, Grid
from edgecap.quant.plan import Plan
from edgecap.quant.simulate import row_scales
from edgecap.quant.tapped import Tapped, layer_weights


def marked(model: Captioner, plan: Plan) -> Captioner:
    """`model`, smoothed already, with the plan's grids marked in it."""
    return Tapped(model, Marks(model, plan))


class Marks:
    """A tap that says where activations are int8."""

    def __init__(self, model: Captioner, plan: Plan) -> None:
        self._plan = plan
        self._rows = {name: row_scales(weight) for name, weight in layer_weights(model).items()}

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        grids = self._plan.grids(layer, function)
        if grids is None:
            return F.linear(x, weight)
        y = F.linear(_on(grids.input, x), weight)  # [...,N]
        step = self._rows[layer] * grids.output.scale  # [N]
        return _on(Grid(1.0, grids.output.zero_point), y * (1 / step)) * step

    def table(self, weight: Tensor) -> Tensor:
        return weight


def _on(grid: Grid, x: Tensor) -> Tensor:
    operations, bounds = torch.ops.quantized_decomposed, (LOW, HIGH, torch.int8)
    rounded = operations.quantize_per_tensor(x, grid.scale, grid.zero_point, *bounds)
    return operations.dequantize_per_tensor(rounded, grid.scale, grid.zero_point, *bounds)
