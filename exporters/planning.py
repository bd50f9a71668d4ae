"""The plan that an int8 export obeys: given, calibrated, or searched for; and what goes with it.

It is made once, before any format, and all formats obey it. A searched plan travels with how it was
found (search.json, pareto.png). A plan that is given brings these along where they lie beside it
and are about it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.bundle.manifest import FRONT, SEARCH
from edgecap.core.errors import BundleError, InputError
from edgecap.core.formats import INT8, INT8_PRECISIONS
from edgecap.core.typed import dump, read_json
from edgecap.exporters.opened import OpenModel
from edgecap.exporters.spec import ExportRequest
from edgecap.quant import plan as plans
from edgecap.quant.plan import Plan

if TYPE_CHECKING:
    from edgecap.quant.calibration_set import CalibrationSet
    from edgecap.reference.model.captioner import CaptionModel

Say = Callable[[str], None]
FILES = (plans.FILE, SEARCH, FRONT)  # what may go into a bundle with a plan


@dataclass(frozen=True)
class Chosen:
    """A precision, and what a converter is given to reach it."""

    precision: str
    network: CaptionModel  # smoothed by the plan, where there is one
    plan: Plan | None = None
    summary: dict[str, Any] | None = None  # of the plan, for the manifest
    folder: Path | None = None  # holds those of FILES that there are

    def bring(self, directory: Path) -> None:
        """Put what goes with the plan into a bundle."""
        for name in FILES if self.folder is not None else ():
            assert self.folder is not None
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, directory / name)


class Planner:
    """Makes each precision's plan on first use; calibration captions once."""

    def __init__(
        self, request: ExportRequest, path: Path, model: OpenModel, scratch: Path, say: Say
    ) -> None:
        self._request, self._path, self._model = request, path, model
        self._scratch, self._say = scratch, say
        self._chosen: dict[str, Chosen] = {}
        self._calibration_set: CalibrationSet | None = None

    def choose(self, precision: str) -> Chosen:
        """What reaches a precision. A search chooses its own; so does a plan that is given.

        Raises InputError for a plan of other weights or layers, and GateError where a search finds
        none within its budget.
        """
        if precision not in self._chosen:
            self._chosen[precision] = self._make(precision)
        return self._chosen[precision]

    def _make(self, precision: str) -> Chosen:
        from edgecap.reference.quant import layer_widths, smooth

        network = self._model.network
        if precision not in INT8_PRECISIONS:
            return Chosen(precision, network)
        folder = self._scratch / precision
        folder.mkdir()
        plan, summary = make_plan(
            self._request, precision, self._path, self._model, folder, self._say, self._calibrated
        )
        plans.check_layers(plan, layer_widths(network))
        return Chosen(plan.precision, smooth(network, plan.smoothing), plan, summary, folder)

    def _calibrated(self) -> CalibrationSet:
        if self._calibration_set is None:
            self._calibration_set = collect(self._request, self._model, self._say)
        return self._calibration_set


def read_plan(request: ExportRequest, file: Path, name: str, weights: Path) -> Plan:
    """A plan from a file; InputError unless it is for these weights and this precision."""
    plan = plans.read_plan(file)
    plans.check_weights(plan, name, weights)
    if plan.precision != request.precision and request.precision != INT8:
        raise InputError(
            "plan.precision",
            f"{file} is a plan for {plan.precision}, and {request.precision} was requested.",
            f"Run with: --precision {plan.precision}",
        )
    return plan


def collect(request: ExportRequest, model: OpenModel, say: Say) -> CalibrationSet:
    """The images of calibration and the model's captions of them."""
    from edgecap.quant.calibration_set import collect_calibration

    say(f"calibrating on {request.calibration.images} images")
    model_inputs = request.calibration.model_inputs(model.network.config.image_size)
    return collect_calibration(model.reference, model_inputs)


def make_plan(
    request: ExportRequest,
    precision: str,
    weights: Path,
    model: OpenModel,
    directory: Path,
    say: Say,
    calibrated: Callable[[], CalibrationSet],
) -> tuple[Plan, dict[str, Any]]:
    """The plan, and its summary for the manifest; both written into `directory` in full.

    Raises GateError where a search finds none within its budget.
    """
    if request.plan is not None:
        plan = read_plan(request, request.plan, model.name, weights)
        search = _bring_search(request.plan, plan, directory)
    else:
        plan, search = _new_plan(request, precision, model, directory, say, calibrated)
    plans.write_plan(plan, directory / plans.FILE)
    return plan, plan.summary() | ({"search": search} if search else {})


def _new_plan(
    request: ExportRequest,
    precision: str,
    model: OpenModel,
    directory: Path,
    say: Say,
    calibrated: Callable[[], CalibrationSet],
) -> tuple[Plan, dict[str, Any]]:
    """A plan from calibration, and from a search after it where there is a budget.

    Captions are scored in the languages of the model that scenes can be described in; the
    others are reported through `say`.
    """
    from edgecap.reference.quant import calibrate

    begun = time.monotonic()
    calibration_set = calibrated()
    plan = calibrate(
        model.network,
        calibration_set,
        request.calibration,
        model=model.name,
        weights=model.weights,
        precision="w8a8" if request.max_drop is not None else precision,
    )
    if request.max_drop is None:
        return plan, {}
    from edgecap.quant.search.evaluator import TaskEvaluator
    from edgecap.quant.search.front import draw_front
    from edgecap.quant.search.search import search
    from edgecap.reference.quant import ReferenceSubject
    from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES
    from edgecap.reference.scenes.shipped import load_set

    scored = [language for language in model.reference.languages if language in GRAMMAR_LANGUAGES]
    unread = [
        language for language in model.reference.languages if language not in GRAMMAR_LANGUAGES
    ]
    if unread:
        say(f"no scene can be described in {', '.join(unread)}: losses there are not measured")

    def make_evaluator() -> TaskEvaluator:
        return TaskEvaluator(model.network, load_set("calibration"), scored, model.extension)

    subject = ReferenceSubject(model.network)
    result = search(subject, plan, calibration_set, make_evaluator, request.max_drop, say)
    result = replace(result, seconds=time.monotonic() - begun)
    for point in result.front:
        say(f"front: {point}")
    say(f"taken: {result.chosen} ({result.seconds:.0f} s with calibration)")
    (directory / SEARCH).write_bytes(dump(result.to_json()))
    draw_front(result, directory / FRONT)
    return result.chosen.plan, result.summary()


def _bring_search(file: Path, plan: Plan, directory: Path) -> dict[str, Any]:
    """Copy how a plan was found from beside its file; its summary, empty where nothing is known."""
    record, image = file.parent / SEARCH, file.parent / FRONT
    if not (record.is_file() and image.is_file()):
        return {}
    try:
        value = read_json(record, SEARCH)
        if value["plan"] != plans.fingerprint_of(plan):
            return {}
        summary = {"max_drop": value["max_drop"], **value["points"][value["chosen"]]["drop"]}
    except (BundleError, KeyError, IndexError, TypeError):
        return {}  # somebody else's file of that name
    shutil.copyfile(record, directory / SEARCH)
    shutil.copyfile(image, directory / FRONT)
    return summary
