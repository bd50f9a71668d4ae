"""What rounding one layer alone costs: KL divergence from fp32, one short run per layer and kind.

The next-token distributions of the fp32 model along its own captions are the measure: they move
smoothly with the rounding, where single words flip or not. Roundings of different layers are nearly
independent noise, so the divergences of single layers nearly add up; the search uses the sum to
order plans only, and what it chooses is evaluated by its captions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from edgecap.quant.agreement import agree
from edgecap.quant.calibration_set import CalibrationSet
from edgecap.quant.plan import Layer, Plan
from edgecap.reference.quant import default_kind, simulate

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

SCENES = 16  # one for each language in each style; every run sees the same

Sensitivity = dict[str, dict[str, float]]  # layer -> kind -> nats per step


def with_kinds(plan: Plan, kinds: Mapping[str, str]) -> Plan:
    """The plan with layers of these kinds, none narrower than it had grids for."""
    layers = {
        name: layer if kinds[name] == layer.kind else Layer(kinds[name], {})
        for name, layer in plan.layers.items()
    }
    return replace(plan, layers=layers)


def wider(layer: str, kind: str) -> tuple[str, ...]:
    """The kinds that a layer of this kind may be widened to, the nearest first.

    From w8a8 that is the layer's kind in a w8 plan: what rounds badly as it comes does so here too.
    """
    return {"w8a8": (default_kind(layer, "w8"), "fp32"), "fp32": ()}.get(kind, ("fp32",))


class Divergence:
    """KL(fp32 ‖ plan), nats per step, of plans of one model on one calibration_set."""

    def __init__(self, network: CaptionModel, base: Plan, calibration_set: CalibrationSet) -> None:
        """`base` has grids for every layer that a plan may round to w8a8."""
        self._network, self._base = network, base
        self._calibration_set = calibration_set.first(SCENES)
        self._float_outputs = list(self._calibration_set.replay(network, "fp32"))

    def of(self, kinds: Mapping[str, str], label: str) -> float:
        simulated = simulate(self._network, with_kinds(self._base, kinds))
        return agree(
            zip(self._float_outputs, self._calibration_set.replay(simulated, label), strict=True)
        ).divergence

    def sensitivity(self, say: Callable[[str], None]) -> Sensitivity:
        """Of every layer in each kind that rounds it, all other layers in fp32."""
        float_ = dict.fromkeys(self._base.layers, "fp32")
        found: Sensitivity = {}
        for i, (name, layer) in enumerate(self._base.layers.items()):
            kinds = [kind for kind in (layer.kind, *wider(name, layer.kind)) if kind != "fp32"]
            label = f"layer {i + 1} of {len(float_)}"
            found[name] = {
                kind: self.of(float_ | {name: kind}, f"{label}, {kind}") for kind in kinds
            } | {"fp32": 0.0}
        worst = sorted(found, key=lambda name: -max(found[name].values()))[:3]
        say("most sensitive: " + ", ".join(worst))
        return found
