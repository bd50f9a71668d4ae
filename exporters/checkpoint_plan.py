"""The plan that a checkpoint's int8 bundles obey: given, or calibrated once for all formats."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.image_spec import ImageSpec
from edgecap.core.digest import file_sha256
from edgecap.core.errors import InputError
from edgecap.exporters.checkpoint_images import model_inputs
from edgecap.quant.plan import Plan, read_plan
from edgecap.quant.samples import CalibrationSpec

if TYPE_CHECKING:
    from edgecap.exporters.rounded import Rounded
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint

Say = Callable[[str], None]


def fingerprint(opened: Checkpoint) -> str:
    """What a plan remembers of a checkpoint: the SHA-256 of its weights; of shards, of theirs."""
    digests = [file_sha256(file) for file in opened.weights]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def read_plan_of(file: Path, opened: Checkpoint) -> Plan:
    """A plan from a file; InputError unless it is w8a8 and for these weights."""
    plan = read_plan(file)
    if plan.weights != fingerprint(opened):
        raise InputError(
            "plan.weights",
            f"the plan was made for other weights ({plan.model}, SHA-256 {plan.weights[:12]}…) "
            f"than {opened.source}'s.",
            "Make a plan for these weights: export without --plan.",
        )
    if plan.precision != "w8a8":
        raise InputError(
            "plan.precision",
            f"{file} is a plan for {plan.precision}; a checkpoint takes one for w8a8.",
            "Make a plan for these weights: export without --plan.",
        )
    return plan


@dataclass
class Planner:
    """Makes each precision's plan on first use."""

    adapter: Adapter
    opened: Checkpoint
    image: ImageSpec
    prompts: Mapping[str, GenerationSpec]
    calibration: CalibrationSpec
    given: Path | None
    say: Say
    _made: dict[str, Rounded | None] = field(default_factory=dict)

    def choose(self, precision: str) -> Rounded | None:
        """How a precision rounds; None where it does not."""
        if precision not in self._made:
            self._made[precision] = self._make(precision)
        return self._made[precision]

    def _make(self, precision: str) -> Rounded | None:
        from edgecap.exporters import rounded

        if precision == "w8":
            return rounded.uncalibrated(self.adapter, fingerprint(self.opened))
        if precision != "w8a8":
            return None
        if self.given is not None:
            return rounded.by(read_plan_of(self.given, self.opened), self.adapter)
        self.say(f"calibrating on {self.calibration.images} images")
        images = model_inputs(self.calibration.shuffled()[: self.calibration.images], self.image)
        prompt = next(iter(self.prompts.values())).begin
        return rounded.calibrated(
            self.adapter, images, self.calibration, prompt, fingerprint(self.opened)
        )
