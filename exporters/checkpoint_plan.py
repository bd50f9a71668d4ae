"""The plan that a checkpoint's int8 bundles obey: given, calibrated or searched for, once for all
formats.

Letters: N images, h and w the input's size in px.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.image_spec import ImageSpec
from edgecap.bundle.text_spec import TextSpec
from edgecap.core.digest import file_sha256
from edgecap.core.errors import InputError
from edgecap.core.formats import INT8
from edgecap.exporters.checkpoint_images import model_inputs
from edgecap.exporters.searched import search_beside
from edgecap.quant.plan import Plan, read_plan
from edgecap.quant.samples import CalibrationSpec

if TYPE_CHECKING:
    from edgecap.exporters.rounded import Rounded
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint
    from edgecap.quant.captions import CaptionSet
    from edgecap.quant.search.search import Evaluator
    from edgecap.reference.pairs.examples import Example

Say = Callable[[str], None]


def fingerprint(opened: Checkpoint) -> str:
    """What a plan remembers of a checkpoint: the SHA-256 of its weights; of shards, of theirs."""
    digests = [file_sha256(file) for file in opened.weights]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def read_plan_of(file: Path, opened: Checkpoint, precision: str) -> Plan:
    """A plan from a file; InputError unless it is for these weights and this precision."""
    plan = read_plan(file)
    if plan.weights != fingerprint(opened):
        raise InputError(
            "plan.weights",
            f"the plan was made for other weights ({plan.model}, SHA-256 {plan.weights[:12]}…) "
            f"than {opened.source}'s.",
            "Make a plan for these weights: export without --plan.",
        )
    if precision not in (INT8, plan.precision):
        raise InputError(
            "plan.precision",
            f"{file} is a plan for {plan.precision}, and {precision} was requested.",
            f"Run with: --precision {plan.precision}",
        )
    return plan


def read_references(data: Path) -> list[Example]:
    """Images and captions of a search's judge; InputError where there are too few to score on."""
    from edgecap.quant.search.captions import LEAST
    from edgecap.reference.pairs.examples import read_examples

    examples = read_examples(data)
    if len(examples) < LEAST:
        raise InputError(
            "max_drop.data",
            f"{data} has {len(examples)} image, and captions are scored on {LEAST} or more.",
            "Give more images, or leave --data out.",
        )
    return examples


@dataclass(frozen=True)
class PlanRequest:
    """Where a plan comes from: the fields of the same names of an export's request."""

    calibration: CalibrationSpec
    given: Path | None
    max_drop: float | None
    data: Path | None


@dataclass
class Planner:
    """Makes each precision's plan on first use."""

    adapter: Adapter
    opened: Checkpoint
    image: ImageSpec
    text: TextSpec | None
    prompt: GenerationSpec | None  # the default one; None, as the text: a model that only embeds
    request: PlanRequest
    say: Say
    _made: dict[str, Rounded | None] = field(default_factory=dict)

    def choose(self, precision: str) -> Rounded | None:
        """How a precision rounds; None where it does not.

        A plan that is given or searched for may have another precision than the one asked for.
        Raises GateError where a search finds none within its budget.
        """
        if precision not in self._made:
            self._made[precision] = self._make(precision)
        return self._made[precision]

    def _make(self, precision: str) -> Rounded | None:
        from edgecap.exporters import rounded

        if self.request.given is not None:
            plan = read_plan_of(self.request.given, self.opened, INT8)  # checked before
            return rounded.by(plan, self.adapter, search_beside(self.request.given, plan))
        if precision == "w8":
            return rounded.uncalibrated(self.adapter, fingerprint(self.opened))
        if self.request.max_drop is not None:
            return self._searched(self.request.max_drop)
        return self._calibrated if precision == "w8a8" else None

    @cached_property
    def _captions(self) -> CaptionSet:
        """The captions of the images of calibration."""
        calibration = self.request.calibration
        self.say(f"calibrating on {calibration.images} images")
        return self._collect(calibration.shuffled()[: calibration.images])

    @cached_property
    def _calibrated(self) -> Rounded:
        from edgecap.exporters import rounded

        weights = fingerprint(self.opened)
        return rounded.calibrated(self.adapter, self._captions, self.request.calibration, weights)

    def _searched(self, max_drop: float) -> Rounded:
        from edgecap.exporters import rounded
        from edgecap.exporters.searched import search_plan

        begun = time.monotonic()
        plan, found = search_plan(
            rounded.subject(self.adapter),
            self._calibrated.plan,
            self._captions,
            self._evaluator,
            max_drop,
            begun,
            self.say,
        )
        return rounded.by(plan, self.adapter, found)

    def _evaluator(self) -> Evaluator:
        """By the user's captions, or by fp32's own on the images of calibration."""
        from edgecap.quant.search.captions import SameCaptions, ScoredCaptions
        from edgecap.runtime.text import TextCodec

        if self.request.data is None:
            return SameCaptions(self._captions)
        assert self.text is not None and self.adapter.generation is not None  # it captions
        examples = read_references(self.request.data)
        codec = TextCodec(self.text)
        return ScoredCaptions(
            self._collect([example.image for example in examples]),
            [example.captions for example in examples],
            self.adapter.generation.end,
            lambda tokens: codec.decode(tuple(tokens)).strip(),
        )

    def _collect(self, sources: Sequence[Any]) -> CaptionSet:
        """The model's captions of images: files, or arrays uint8 [h,w,3]."""
        from edgecap.exporters import rounded

        assert self.prompt is not None  # it captions
        images = model_inputs(sources, self.image)  # [N,h,w,3]
        return rounded.collect(self.adapter, images, self.prompt.begin)
