"""What rounding one layer alone costs: KL divergence from fp32, one short run per layer and kind.

The next-token distributions of the fp32 model along its own captions are the measure: they move
smoothly with the rounding, where single words flip or not. Roundings of different layers are nearly
independent noise, so the divergences of single layers nearly add up; the search uses the sum to
order plans only, and what it chooses is evaluated by its captions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from edgecap.quant.agreement import agree
from edgecap.quant.plan import Layer, Plan
from edgecap.quant.simulate import simulate
from edgecap.quant.subject import Subject

Sensitivity = dict[str, dict[str, float]]  # layer -> kind -> nats per step


class CalibrationCaptions(Protocol):
    """Images and their captions: a CalibrationSet, or the CaptionSet of any captioner."""

    def __len__(self) -> int:
        """How many images."""

    def first(self, number: int) -> CalibrationCaptions:
        """The first of the images and their captions."""

    def replay(self, model: Any, label: str) -> Iterable[Any]:
        """Per batch logits [M,V] and embeddings [B,E] or None."""


def with_kinds(plan: Plan, kinds: Mapping[str, str]) -> Plan:
    """The plan with layers of these kinds, none narrower than it had grids for."""
    layers = {
        name: layer if kinds[name] == layer.kind else Layer(kinds[name], {})
        for name, layer in plan.layers.items()
    }
    return replace(plan, layers=layers)


def wider(plan: Plan, layer: str, kind: str) -> tuple[str, ...]:
    """The kinds that a layer of this kind may be widened to, the nearest first.

    From w8a8 that is the layer's kind in a w8 plan: what rounds badly as it comes does so here too.
    """
    return {"w8a8": (plan.default_kind(layer, "w8"), "fp32"), "fp32": ()}.get(kind, ("fp32",))


class Divergence:
    """KL(fp32 ‖ plan), nats per step, of plans of one model on one calibration set."""

    def __init__(self, subject: Subject, base: Plan, calibration_set: CalibrationCaptions) -> None:
        """`base` has grids for every layer that a plan may round to w8a8."""
        self._subject, self._base = subject, base
        self._calibration_set = calibration_set
        self._float_outputs = list(self._calibration_set.replay(subject.runnable, "fp32"))

    def of(self, kinds: Mapping[str, str], label: str) -> float:
        simulated = simulate(self._subject, with_kinds(self._base, kinds))
        return agree(
            zip(self._float_outputs, self._calibration_set.replay(simulated, label), strict=True)
        ).divergence

    def sensitivity(self, layers: Iterable[str], say: Callable[[str], None]) -> Sensitivity:
        """Of each of `layers` in each kind that rounds it, all other layers in fp32."""
        float_ = dict.fromkeys(self._base.layers, "fp32")
        names = list(layers)
        found: Sensitivity = {}
        for i, name in enumerate(names, 1):
            kind = self._base.layers[name].kind
            kinds = [one for one in (kind, *wider(self._base, name, kind)) if one != "fp32"]
            label = f"layer {i} of {len(names)}"
            found[name] = {
                one: self.of(float_ | {name: one}, f"{label}, {one}") for one in kinds
            } | {"fp32": 0.0}
            if i % max(1, len(names) // 4) == 0:
                say(f"measured {i} of {len(names)} layers")
        worst = sorted(found, key=lambda name: -max(found[name].values()))[:3]
        say("most sensitive: " + ", ".join(worst))
        return found
