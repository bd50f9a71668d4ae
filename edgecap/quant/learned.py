"""Grids whose scales are learned with the weights, and the weights and plan they end as.

A scale is learned as LSQ does (arXiv 1902.08153): its gradient is what rounding and clipping did to
the values, weighed by what they were needed for. It is learned as a logarithm (arXiv 1903.08066),
so it stays positive and small and large scales move alike. Zero points stay.

Letters: N outputs (rows), D inputs of a layer; G grids of a plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from edgecap.quant.params import QuantParams, short
from edgecap.quant.plan import Activations, Layer, Plan, QuantParamKey
from edgecap.quant.simulate import Rounding, integer_rows
from edgecap.quant.subject import Subject

# Optimisers move every number by about its learning rate; a logarithm has further to go than a
# weight has.
SPEED = 10.0


class LearnedScales(nn.Module):
    """One number for every grid of a plan: by how much its scale has grown."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._places = [
            (layer, function, side)
            for layer, how in sorted(plan.layers.items())
            for function in sorted(how.functions)
            for side in ("input", "output")
        ]
        self.growth = nn.Parameter(torch.zeros(len(self._places)))  # [G], logarithms over SPEED

    def factors(self) -> dict[QuantParamKey, Tensor]:
        """By how much each scale is larger than the plan's, scalars."""
        return dict(zip(self._places, (SPEED * self.growth).exp().unbind(), strict=True))

    def settled(self, plan: Plan) -> Plan:
        """The plan with the scales that were learned."""
        with torch.no_grad():
            factors = {place: float(factor) for place, factor in self.factors().items()}

        def now(layer: str, function: str, side: str, grid: QuantParams) -> QuantParams:
            factor = factors.get((layer, function, side), 1.0)
            return QuantParams(short(grid.scale * factor), grid.zero_point)

        def grids(layer: str, function: str, old: Activations) -> Activations:
            return Activations(
                now(layer, function, "input", old.input),
                now(layer, function, "output", old.output),
            )

        layers = {
            name: Layer(how.kind, {f: grids(name, f, g) for f, g in how.functions.items()})
            for name, how in plan.layers.items()
        }
        return replace(plan, layers=layers)


class LearnedRounding:
    """A model under a plan, whose weights and scales are to be learned."""

    def __init__(self, subject: Subject, plan: Plan) -> None:
        """`subject` is smoothed already, and the plan has no smoothing."""
        self.scales = LearnedScales(plan)
        self._weights, self._rounding = subject.weights(), Rounding(plan)
        self.tapped: Any = subject.tapped(self._rounding)  # what runs, within `rounded`

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Within this, `tapped` runs on weights rounded once and on the scales as learned."""
        self._rounding.prepare(self._weights, self.scales.factors())
        try:
            yield
        finally:
            self._rounding.forget()


def on_grid(subject: Subject, plan: Plan) -> Subject:
    """A copy with its int8 weights where rounding puts them.

    Exports in float then compute with the very weights that int8 exports store.
    """
    int8 = [name for name, layer in plan.layers.items() if layer.kind != "fp32"]
    moved = subject.with_own(int8)
    weights = moved.weights()
    with torch.no_grad():
        for name in int8:
            integers, scale = integer_rows(weights[name])  # [N,D], [N]
            weights[name].copy_(integers * scale[:, None])
    return moved
