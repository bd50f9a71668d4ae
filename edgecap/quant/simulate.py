"""What the quantised model will output, computed in torch: the plan's rounding in float32.

Gradients pass straight through every rounding (arXiv 1308.3432) and stop where a grid clips, so a
captioner tapped by `Rounding` can also be fine-tuned.

Letters: D inputs and N outputs of a layer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecap.quant.params import HIGH, LOW, QuantParams
from edgecap.quant.plan import Plan, QuantParamKey, check_layers
from edgecap.quant.smooth import smooth
from edgecap.quant.subject import Subject


def simulate(subject: Subject, plan: Plan) -> Any:
    """What computes as an export of `subject` by `plan` does, up to float32 sums.

    Of the kind that `Subject.tapped` returns: the functions of an adapter, or a model.

    The input of a w8 layer is rounded by the vector, as TFLite does; ONNX rounds it by the call,
    CoreML not at all.

    Its weights are rounded now, once for every step that it will take. Raises InputError where the
    plan is not for these layers.
    """
    check_layers(plan, subject.widths())
    smoothed, rounding = smooth(subject, plan.smoothing), Rounding(plan)
    with torch.no_grad():
        rounding.prepare(smoothed.weights(), {})
    return smoothed.tapped(rounding)


class Rounding:
    """A hook that rounds by the plan.

    As in an int8 kernel integers are multiplied, and scales come after: float32 holds sums of
    integers exactly. In bfloat16, as QAT runs, the integers are exact and the sums are not.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rounded: dict[str, tuple[Tensor, Tensor]] = {}  # integers [N,D], scales [N]
        self._factors: Mapping[QuantParamKey, Tensor] = {}  # scalars

    def prepare(
        self, weights: Mapping[str, Tensor], factors: Mapping[QuantParamKey, Tensor]
    ) -> None:
        """Round the weights [N,D], by layer, once for all functions, steps or a step of training.

        `factors`, scalars, are multiplied onto the plan's scales (learned.py). Both hold until
        `forget`.
        """
        int8 = (name for name, how in self._plan.layers.items() if how.kind != "fp32")
        self._rounded = {name: integer_rows(weights[name]) for name in int8}
        self._factors = factors

    def forget(self) -> None:
        """Round weights as they come, and on the plan's scales, again."""
        self._rounded, self._factors = {}, {}

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        kind, grids = self._plan.layers[layer].kind, self._plan.grids(layer, function)
        if kind == "fp32":
            return F.linear(x, weight)
        integers, unit = self._rounded.get(layer) or integer_rows(weight)  # [N,D], [N]
        if kind == "w8_dequant":
            return F.linear(x, integers) * unit
        if grids is None:
            levels, step = _as_it_comes(x)  # [...,D], [...,1]
            return F.linear(levels, integers) * (step * unit)
        into = grids.input.scale * self._factors.get((layer, function, "input"), 1.0)  # scalar
        out = grids.output.scale * self._factors.get((layer, function, "output"), 1.0)  # scalar
        levels = _levels(x / into, grids.input)  # [...,D]
        sums = F.linear(levels, integers)  # [...,N]
        return _levels(sums * (into / out), grids.output) * (unit * out)

    def stored(self, layer: str, weight: Tensor) -> Tensor:
        if self._plan.layers[layer].kind == "fp32":
            return weight
        integers, unit = self._rounded.get(layer) or integer_rows(weight)  # [V,D], [V]
        return integers * unit[:, None]


def row_scales(weight: Tensor) -> Tensor:
    """The scale [N] of each row of weight [N,D]: rounding.rows in torch."""
    largest = weight.detach().abs().amax(1)  # [N]
    return torch.where(largest > 0, largest / 127, 1.0)


def integer_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [N,D] as rounding.rows leaves them: integers, in float, and the scales [N]."""
    scale = row_scales(weight)  # [N]
    steps = weight / scale[:, None]  # [N,D]
    return nearest(steps), scale


def _levels(steps: Tensor, grid: QuantParams) -> Tensor:
    """`steps` = x / scale [...,D] to the nearest integers [...,D] of the grid.

    They are counted from its zero point. Outputs come as [...,N].
    """
    # hardtanh is clamp with a gradient in one pass
    low, high = LOW - grid.zero_point, HIGH - grid.zero_point
    return nearest(F.hardtanh(steps, float(low), float(high)))


def _as_it_comes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Each vector of x [...,D] on a grid of its own, from its least to its largest value and 0.

    Returns levels [...,D], counted from the zero point, and the step [...,1] between them.
    """
    low, high = x.detach().amin(-1, True).clamp_max(0), x.detach().amax(-1, True).clamp_min(0)
    step = (high - low).clamp_min(1e-12) / (HIGH - LOW)  # [...,1]
    zero = (LOW - low / step).round()  # [...,1]
    steps = x / step  # [...,D]
    return nearest(steps).clamp(LOW - zero, HIGH - zero), step


class _Nearest(torch.autograd.Function):
    """The nearest integer, with the gradient of what was rounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def nearest(x: Tensor) -> Tensor:
    """x rounded to integers; gradients pass straight through."""
    return _Nearest.apply(x)
