"""An adapter's model and the plan that it is rounded by: one for all formats.

A plan of `w8` needs no data: which layers there are, and what the family keeps wider, follows from
the model alone, even from one without its weights. A plan of `w8a8` is calibrated.

Letters: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecap.models.adapter import Adapter, GraphFunction
from edgecap.quant.plan import Plan

if TYPE_CHECKING:
    from edgecap.quant.captions import CaptionSet
    from edgecap.quant.samples import CalibrationSpec
    from edgecap.quant.subject import FunctionSubject
    from edgecap.runtime.image_processing import ModelInput


@dataclass(frozen=True)
class Rounded:
    """A plan, and the model it is for, smoothed by it."""

    plan: Plan
    subject: FunctionSubject

    @property
    def functions(self) -> tuple[GraphFunction, ...]:
        """What is converted: smoothed, not rounded yet."""
        return self.subject.functions

    def simulated(self) -> tuple[GraphFunction, ...]:
        """What an export with fixed grids computes, in PyTorch."""
        from edgecap.quant.simulate import Rounding

        return tuple(self.subject.tapped(Rounding(self.plan)))


def subject(adapter: Adapter) -> FunctionSubject:
    """What the quantiser sees of an adapter."""
    from edgecap.quant.subject import subject_of

    return subject_of(adapter.functions(), adapter.quant, adapter.interface.dims.get("V"))


def uncalibrated(adapter: Adapter, weights: str = "") -> Rounded:
    """How `w8` rounds; `weights` is the fingerprint of the checkpoint."""
    from edgecap.quant.calibrate import uncalibrated

    quantised = subject(adapter)
    return Rounded(uncalibrated(quantised, model=adapter.source, weights=weights), quantised)


def collect(adapter: Adapter, images: Sequence[ModelInput], prompt: Sequence[int]) -> CaptionSet:
    """The model's own captions of images behind `prompt`."""
    from edgecap.quant.captions import collect_captions

    assert adapter.generation is not None  # checked before
    functions, end = adapter.functions(), adapter.generation.end
    return collect_captions(functions, adapter.interface, images, prompt, end)


def calibrated(
    adapter: Adapter, captions: CaptionSet, spec: CalibrationSpec, weights: str
) -> Rounded:
    """How `w8a8` rounds, after captions as of `collect`."""
    from edgecap.quant.calibrate import calibrate

    plan = calibrate(
        subject(adapter),
        captions,
        spec,
        model=adapter.source,
        weights=weights,
        precision="w8a8",
    )
    return by(plan, adapter)


def by(plan: Plan, adapter: Adapter) -> Rounded:
    """How a plan that exists rounds; InputError where it is for other layers."""
    from edgecap.quant.plan import check_layers
    from edgecap.quant.smooth import smooth
    from edgecap.quant.subject import FunctionSubject

    quantised = subject(adapter)
    check_layers(plan, quantised.widths())
    smoothed = smooth(quantised, plan.smoothing)
    assert isinstance(smoothed, FunctionSubject)  # as what was smoothed
    return Rounded(plan, smoothed)
