"""From weights and images to a plan: caption, watch the layers, choose grids.

Three replays of the same captions: input channels for smoothing, then the ends of every range on
the smoothed model, then, unless the ends are all that is needed, what lies between them.

Letters: D inputs and N outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor

from edgecap.quant.observers import OBSERVERS, Extremes, Histogram
from edgecap.quant.plan import SCHEMA, Activations, Calibration, Layer, Plan
from edgecap.quant.samples import SHIPPED, CalibrationSpec
from edgecap.quant.simulate import row_scales
from edgecap.quant.smooth import factors, smooth
from edgecap.quant.subject import Subject

QuantParamKey = tuple[str, str]  # function, layer


class Replayable(Protocol):
    """What calibration watches: images and their captions."""

    def __len__(self) -> int:
        """How many images."""

    def replay(self, tapped: Any, label: str) -> Iterable[Any]:
        """Run everything through a tapped subject."""


def calibrate(
    subject: Subject,
    calibration_set: Replayable,
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
    _watch(subject, channels, calibration_set, "input channels")
    divisors = factors(subject, channels.largest)
    exceptions = {of: dict(kinds) for of, kinds in subject.exceptions.items()}
    for name, info in subject.layers.items():
        if info.operation in ("linear", "conv1d") and name not in channels.largest:
            for kinds in exceptions.values():  # no function runs it: no graph has it
                kinds[name] = "fp32"
    wider = exceptions[precision] | dict(keep or {})
    kind = {name: wider.get(name, precision) for name in subject.layers}
    grids: dict[QuantParamKey, Activations] = {}
    if "w8a8" in kind.values():
        fixed = [name for name, how in kind.items() if how == "w8a8"]
        grids = _grids(smooth(subject, divisors), fixed, calibration_set, spec.ranges)
    layers = {
        name: Layer(how, {f: g for (f, n), g in grids.items() if n == name})
        for name, how in kind.items()
    }
    source = SHIPPED if spec.data is None else spec.data.name
    measured = Calibration(source, len(calibration_set), spec.seed, spec.ranges)
    return Plan(SCHEMA, model, weights, measured, divisors, layers, exceptions)


def uncalibrated(subject: Subject, *, model: str, weights: str) -> Plan:
    """The plan of w8 that needs no images: nothing is smoothed, no grid is fixed."""
    kinds = subject.exceptions["w8"]
    layers = {name: Layer(kinds.get(name, "w8"), {}) for name in subject.layers}
    none = Calibration("none", 0, 0, "none")
    return Plan(SCHEMA, model, weights, none, {}, layers, subject.exceptions)


def _grids(
    smoothed: Subject, layers: Sequence[str], calibration_set: Replayable, observer: str
) -> dict[QuantParamKey, Activations]:
    """Grids of these layers in every function that runs them."""
    weights = smoothed.weights()
    scales = {name: row_scales(weights[name]) for name in layers}  # [N] of each
    ends = _Ranges(scales, lambda _: Extremes())
    _watch(smoothed, ends, calibration_set, "ranges")
    histograms = {
        key: Histogram(histogram.low, histogram.high) for key, histogram in ends.observed.items()
    }
    if observer != "minmax":
        _watch(smoothed, _Ranges(scales, histograms.__getitem__), calibration_set, "histograms")
    choose = OBSERVERS[observer]
    return {
        (function, layer): Activations(
            choose(histogram), choose(histograms[function, layer, "output"])
        )
        for (function, layer, side), histogram in histograms.items()
        if side == "input"
    }


def _watch(
    subject: Subject, hook: _Channels | _Ranges, calibration_set: Replayable, label: str
) -> None:
    for _ in calibration_set.replay(subject.tapped(hook), label):
        pass


class _Channels:
    """A hook that keeps the largest absolute value of every input channel [D], by layer."""

    def __init__(self) -> None:
        self.largest: dict[str, Tensor] = {}

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        channels = x.flatten(0, -2).abs().amax(0)  # [D]
        self.largest[layer] = channels.maximum(self.largest.get(layer, channels))
        return F.linear(x, weight)

    def stored(self, layer: str, weight: Tensor) -> Tensor:
        return weight


class _Ranges:
    """A hook that shows inputs, and outputs in units of their row's scale, to observers.

    Of the layers in `scales` [N] alone.
    """

    def __init__(
        self,
        scales: Mapping[str, Tensor],
        make: Callable[[tuple[str, str, str]], Extremes | Histogram],
    ) -> None:
        self._scales, self._make = scales, make
        self.observed: dict[tuple[str, str, str], Extremes | Histogram] = {}

    def linear(self, function: str, layer: str, x: Tensor, weight: Tensor) -> Tensor:
        y = F.linear(x, weight)  # [...,N]
        if layer not in self._scales:
            return y
        for side, values in (("input", x), ("output", y / self._scales[layer])):
            key = (function, layer, side)
            if key not in self.observed:
                self.observed[key] = self._make(key)
            self.observed[key].update(values)
        return y

    def stored(self, layer: str, weight: Tensor) -> Tensor:
        return weight
