"""What the quantised model will say, computed in torch: the plan's rounding in float32.

Gradients pass straight through every rounding (arXiv 1308.3432) and stop where a grid clips, so a
simulated captioner can also be fine-tuned.

Letters: D inputs and N outputs of a layer, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecap.model.captioner import Captioner
from edgecap.quant.grid import HIGH, LOW, Grid
from edgecap.quant.plan import Plan, check_layers
from edgecap.quant.recipe import HEAD
from edgecap.quant.smooth import smooth
from edgecap.quant.tapped import Tapped, layer_weights


def simulate(model: Captioner, plan: Plan) -> Captioner:
    """A captioner that computes as an export of `model` by `plan` does, up to float32 sums.

    Raises InputError where the plan is not for these layers.
    """
    check_layers(plan, {name: w.shape[1] for name, w in layer_weights(model).items()})
    return Tapped(smooth(model, plan.smoothing), Rounding(plan))


class Rounding:
    """A tap that rounds as the plan says."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        kind, grids = self._plan.layers[layer].kind, self._plan.grids(layer, function)
        if kind == "fp32":
            return F.linear(x, weight)
        scale = row_scales(weight)  # [N]
        rounded = rounded_rows(weight, scale)  # [N,D]
        if grids is None:
            return F.linear(_as_it_comes(x), rounded)
        y = F.linear(_on(grids.input, x), rounded)  # [...,N]
        return _on(grids.output, y / scale) * scale

    def table(self, weight: Tensor) -> Tensor:
        if self._plan.layers[HEAD].kind == "fp32":
            return weight
        return rounded_rows(weight, row_scales(weight))  # [V,D]


def row_scales(weight: Tensor) -> Tensor:
    """The scale [N] of each row of weight [N,D]: rounding.rows in torch."""
    largest = weight.detach().abs().amax(1)  # [N]
    return torch.where(largest > 0, largest / 127, 1.0)


def rounded_rows(weight: Tensor, scale: Tensor) -> Tensor:
    """Weights [N,D] as rounding.rows leaves them, in float."""
    integers = (weight.detach() / scale[:, None]).round()  # [N,D]
    return _straight_through(weight, integers * scale[:, None])


def _on(grid: Grid, x: Tensor) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(x, grid.scale, grid.zero_point, LOW, HIGH)


def _as_it_comes(x: Tensor) -> Tensor:
    """Each vector of x [...,D] on a grid of its own, from its least to its largest value and 0."""
    low, high = x.detach().amin(-1, True).clamp_max(0), x.detach().amax(-1, True).clamp_min(0)
    scale = (high - low).clamp_min(1e-12) / (HIGH - LOW)  # [...,1]
    zero = (LOW - low / scale).round()  # [...,1]
    on = ((x / scale).round() + zero).clamp(LOW, HIGH) - zero  # [...,D]
    return _straight_through(x, on * scale)


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """Exactly `rounded`, with the gradient of x."""
    return rounded.detach() + (x - x.detach())
