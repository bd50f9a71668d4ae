"""The plan that an int8 export obeys: given, calibrated, or searched for; and what goes with it.

A searched plan travels with how it was found (search.json, pareto.png). A plan that is given brings
these along where they lie beside it and are about it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.bundle.manifest import FRONT, SEARCH
from edgecap.core.errors import BundleError, InputError
from edgecap.core.typed import dump, read_json
from edgecap.exporters.spec import ExportSpec
from edgecap.quant import plan as plans
from edgecap.quant.plan import Plan

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel
    from edgecap.runtime.captioner import Captioner

Say = Callable[[str], None]


def read_plan(spec: ExportSpec, file: Path, name: str, weights: Path) -> Plan:
    """A plan from a file; InputError unless it is for these weights and this precision."""
    plan = plans.read_plan(file)
    plans.check_weights(plan, name, weights)
    if plan.precision != spec.precision:
        raise InputError(
            "plan.precision",
            f"{file} is a plan for {plan.precision}, and {spec.precision} is asked for.",
            f"Run with: --precision {plan.precision}",
        )
    return plan


def make_plan(
    spec: ExportSpec,
    name: str,
    weights: Path,
    network: CaptionModel,
    subject: Captioner,
    directory: Path,
    say: Say,
) -> tuple[Plan, dict[str, Any]]:
    """The plan, and what the manifest says of it; both written into `directory` in full.

    Raises GateError where a search finds none within its budget.
    """
    if spec.plan is not None:
        plan = read_plan(spec, spec.plan, name, weights)
        found = _bring_search(spec.plan, plan, directory)
    else:
        plan, found = _new_plan(spec, name, weights, network, subject, directory, say)
    plans.write_plan(plan, directory / plans.FILE)
    return plan, plan.summary() | ({"search": found} if found else {})


def _new_plan(
    spec: ExportSpec,
    name: str,
    weights: Path,
    network: CaptionModel,
    subject: Captioner,
    directory: Path,
    say: Say,
) -> tuple[Plan, dict[str, Any]]:
    """A plan from calibration, and from a search after it where there is a budget.

    Captions are judged in the languages of the model that scenes can be described in; of the
    others `say` is told.
    """
    from edgecap.quant.calibration_set import collect_calibration
    from edgecap.reference.quant import calibrate

    begun = time.monotonic()
    say(f"calibrating on {spec.calibration.images} images")
    model_inputs = spec.calibration.model_inputs(network.config.image_size)
    calibration_set = collect_calibration(subject, model_inputs)
    plan = calibrate(
        network,
        calibration_set,
        spec.calibration,
        model=name,
        weights=plans.fingerprint(weights),
        precision="w8a8" if spec.max_drop is not None else spec.precision,
    )
    if spec.max_drop is None:
        return plan, {}
    from edgecap.quant.search.evaluator import TaskEvaluator
    from edgecap.quant.search.front import draw_front
    from edgecap.quant.search.search import search
    from edgecap.reference.model.weights import extension
    from edgecap.reference.scenes.grammar import SPOKEN
    from edgecap.reference.scenes.shipped import load_set

    judged = [language for language in subject.languages if language in SPOKEN]
    unread = [language for language in subject.languages if language not in SPOKEN]
    if unread:
        say(f"no scene can be described in {', '.join(unread)}: losses there are not measured")

    def judge() -> TaskEvaluator:
        return TaskEvaluator(network, load_set("calibration"), judged, extension(weights))

    found = search(network, plan, calibration_set, judge, spec.max_drop, say)
    found = replace(found, seconds=time.monotonic() - begun)
    for point in found.front:
        say(f"front: {point}")
    say(f"taken: {found.chosen} ({found.seconds:.0f} s with calibration)")
    (directory / SEARCH).write_bytes(dump(found.to_json()))
    draw_front(found, directory / FRONT)
    return found.chosen.plan, found.summary()


def _bring_search(file: Path, plan: Plan, directory: Path) -> dict[str, Any]:
    """Copy how a plan was found from beside its file; its summary, empty where nothing is known."""
    told, image = file.parent / SEARCH, file.parent / FRONT
    if not (told.is_file() and image.is_file()):
        return {}
    try:
        value = read_json(told, SEARCH)
        if value["plan"] != plans.fingerprint_of(plan):
            return {}
        summary = {"max_drop": value["max_drop"], **value["points"][value["chosen"]]["drop"]}
    except (BundleError, KeyError, IndexError, TypeError):
        return {}  # somebody else's file of that name
    shutil.copyfile(told, directory / SEARCH)
    shutil.copyfile(image, directory / FRONT)
    return summary
