"""The plan that a checkpoint's int8 bundles obey: given, calibrated or searched for, once for all
formats.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.core.digest import file_sha256
from edgecap.core.errors import InputError
from edgecap.core.formats import INT8
from edgecap.exporters.checkpoint_images import model_inputs
from edgecap.exporters.described import Described
from edgecap.exporters.planning import Chosen, Planner, read_plan
from edgecap.exporters.searched import Search, search_beside, search_plan
from edgecap.exporters.spec import ExportRequest

if TYPE_CHECKING:
    from edgecap.apps.pairs.examples import Example
    from edgecap.exporters.rounded import Rounded
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint
    from edgecap.quant.captions import CaptionSet
    from edgecap.quant.search.search import Evaluator

Say = Callable[[str], None]


def fingerprint(opened: Checkpoint) -> str:
    """What a plan remembers of a checkpoint: the SHA-256 of its weights; of shards, of theirs."""
    digests = [file_sha256(file) for file in opened.weights]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def read_references(data: Path, images: Path | None) -> list[Example]:
    """Images and captions of a search's judge; InputError where there are too few to score on."""
    from edgecap.apps.pairs.examples import read_examples
    from edgecap.quant.search.captions import LEAST

    examples = read_examples(data, images)
    if len(examples) < LEAST:
        raise InputError(
            "max_drop.data",
            f"{data} has {len(examples)} image, and captions are scored on {LEAST} or more.",
            "Give more images, or leave --data out.",
        )
    return examples


class CheckpointPlanner(Planner):
    """Captions of calibration are made once. The model of a choice is a Rounded, or None."""

    def __init__(
        self,
        request: ExportRequest,
        opened: Checkpoint,
        adapter: Adapter,
        described: Described,
        say: Say,
    ) -> None:
        super().__init__()
        self._request, self._opened, self._say = request, opened, say
        self._adapter, self._described = adapter, described

    def _choose(self, precision: str) -> Chosen:
        from edgecap.exporters import rounded

        given, search = self._request.plan, Search()
        if given is not None:  # its precision was checked before
            plan = read_plan(given, INT8, self._opened.source, fingerprint(self._opened))
            found, search = rounded.by(plan, self._adapter), search_beside(given, plan)
        elif precision == "w8":
            found = rounded.uncalibrated(self._adapter, fingerprint(self._opened))
        elif self._request.max_drop is not None:
            found, search = self._searched(self._request.max_drop)
        elif precision == "w8a8":
            found = self._calibrated
        else:
            return Chosen(precision, None)
        return Chosen(found.plan.precision, found, found.plan, search)

    @cached_property
    def _captions(self) -> CaptionSet:
        """The captions of the images of calibration."""
        calibration = self._request.calibration
        self._say(f"calibrating on {calibration.images} images")
        return self._collect(calibration.shuffled()[: calibration.images])

    @cached_property
    def _calibrated(self) -> Rounded:
        from edgecap.exporters import rounded

        weights, calibration = fingerprint(self._opened), self._request.calibration
        return rounded.calibrated(self._adapter, self._captions, calibration, weights)

    def _searched(self, max_drop: float) -> tuple[Rounded, Search]:
        from edgecap.exporters import rounded

        begun = time.monotonic()
        plan, found = search_plan(
            rounded.subject(self._adapter),
            self._calibrated.plan,
            self._captions,
            self._evaluator,
            max_drop,
            begun,
            self._say,
        )
        return rounded.by(plan, self._adapter), found

    def _evaluator(self) -> Evaluator:
        """By the user's captions, or by fp32's own on the images of calibration."""
        from edgecap.quant.search.captions import SameCaptions, ScoredCaptions
        from edgecap.runtime.text import TextCodec

        if self._request.data is None:
            return SameCaptions(self._captions)
        text, generation = self._described.text, self._adapter.generation
        assert text is not None and generation is not None  # it captions
        examples = read_references(self._request.data, self._request.data_images)
        codec = TextCodec(text)
        return ScoredCaptions(
            self._collect([example.image for example in examples]),
            [example.captions for example in examples],
            generation.end,
            lambda tokens: codec.decode(tuple(tokens)).strip(),
        )

    def _collect(self, sources: Sequence[Any]) -> CaptionSet:
        """The model's captions of images: files, or arrays uint8 [h,w,3]."""
        from edgecap.exporters import rounded

        images = model_inputs(sources, self._described.image)
        prompt = next(iter(self._described.prompts.values()))
        return rounded.collect(self._adapter, images, prompt.begin)
