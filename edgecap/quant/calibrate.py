"""From weights and images to a plan: caption, watch the layers, choose grids.

Three replays of the same captions: input channels for smoothing, then the ends of every range on
the smoothed model, then, unless the ends are all that is wanted, what lies between them.

Letters: D inputs and N outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from edgecap.quant.calibration_set import CalibrationSet
from edgecap.quant.hooks import HookedModel, layer_weights
from edgecap.quant.observers import OBSERVERS, Extremes, Histogram
from edgecap.quant.plan import SCHEMA, Activations, Calibration, Layer, Plan
from edgecap.quant.recipe import kinds
from edgecap.quant.samples import SHIPPED, CalibrationSpec
from edgecap.quant.simulate import row_scales
from edgecap.quant.smooth import factors, smooth

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

QuantParamKey = tuple[str, str]  # function, layer


def calibrate(
    network: CaptionModel,
    calibration_set: CalibrationSet,
    spec: CalibrationSpec,
    *,
    model: str,
    weights: str,
    precision: str,
    keep: Mapping[str, str] | None = None,
) -> Plan:
    """The plan for a float model.

    Args:
        model, weights: name and fingerprint of the weights file, for the plan to remember.
        precision: w8 or w8a8.
        keep: layers that shall stay wider than that: layer -> kind.
    """
    channels = _Channels()
    _watch(network, channels, calibration_set, "input channels")
    divisors = factors(network, channels.largest)
    kind = kinds(layer_weights(network), precision, keep or {})
    grids: dict[QuantParamKey, Activations] = {}
    if "w8a8" in kind.values():
        smoothed = smooth(network, divisors)
        grids = _grids(smoothed, calibration_set, spec.ranges)
    layers = {
        name: Layer(how, {f: g for (f, n), g in grids.items() if n == name and how == "w8a8"})
        for name, how in kind.items()
    }
    source = SHIPPED if spec.data is None else spec.data.name
    measured = Calibration(source, len(calibration_set.model_inputs), spec.seed, spec.ranges)
    return Plan(SCHEMA, model, weights, measured, divisors, layers)


def _grids(
    smoothed: CaptionModel, calibration_set: CalibrationSet, observer: str
) -> dict[QuantParamKey, Activations]:
    """Grids of every layer in every function that runs it."""
    ends = _Ranges(lambda _: Extremes())
    _watch(smoothed, ends, calibration_set, "ranges")
    found = {key: Histogram(seen.low, seen.high) for key, seen in ends.seen.items()}
    if observer != "minmax":
        _watch(smoothed, _Ranges(found.__getitem__), calibration_set, "histograms")
    choose = OBSERVERS[observer]
    return {
        (function, layer): Activations(choose(seen), choose(found[function, layer, "output"]))
        for (function, layer, side), seen in found.items()
        if side == "input"
    }


def _watch(
    network: CaptionModel, hook: _Channels | _Ranges, calibration_set: CalibrationSet, label: str
) -> None:
    for _ in calibration_set.replay(HookedModel(network, hook), label):
        pass


class _Channels:
    """A hook that keeps the largest absolute value of every input channel [D], by layer."""

    def __init__(self) -> None:
        self.largest: dict[str, Tensor] = {}

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        seen = x.flatten(0, -2).abs().amax(0)  # [D]
        self.largest[layer] = seen.maximum(self.largest.get(layer, seen))
        return F.linear(x, weight)

    def table(self, weight: Tensor) -> Tensor:
        return weight


class _Ranges:
    """A hook that shows inputs, and outputs in units of their row's scale, to observers."""

    def __init__(self, make: Callable[[tuple[str, str, str]], Extremes | Histogram]) -> None:
        self._make = make
        self.seen: dict[tuple[str, str, str], Extremes | Histogram] = {}

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        y = F.linear(x, weight)  # [...,N]
        for side, values in (("input", x), ("output", y / row_scales(weight))):
            key = (function, layer, side)
            if key not in self.seen:
                self.seen[key] = self._make(key)
            self.seen[key].update(values)
        return y

    def table(self, weight: Tensor) -> Tensor:
        return weight
