"""The plan that int8 bundles of the reference obey: given, calibrated, or searched for."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from edgecap.core.formats import INT8, INT8_PRECISIONS
from edgecap.exporters.opened import OpenModel
from edgecap.exporters.planning import Chosen, Planner, read_plan
from edgecap.exporters.searched import Search, search_beside, search_plan
from edgecap.exporters.spec import ExportRequest
from edgecap.quant.plan import Plan, check_layers

if TYPE_CHECKING:
    from edgecap.quant.calibration_set import CalibrationSet
    from edgecap.quant.search.evaluator import TaskEvaluator

Say = Callable[[str], None]


class ReferencePlanner(Planner):
    """Captions of calibration are made once."""

    def __init__(self, request: ExportRequest, model: OpenModel, say: Say) -> None:
        super().__init__()
        self._request, self._model, self._say = request, model, say

    def _choose(self, precision: str) -> Chosen:
        from edgecap.reference.quant import layer_widths, smooth

        request, network = self._request, self._model.network
        if precision not in INT8_PRECISIONS:
            return Chosen(precision, network)
        if request.plan is not None:  # its precision was checked before
            plan = read_plan(request.plan, INT8, self._model.name, self._model.weights)
            search = search_beside(request.plan, plan)
        elif request.max_drop is not None:
            plan, search = self._searched(request.max_drop)
        else:
            plan, search = self._calibrated(precision), Search()
        check_layers(plan, layer_widths(network))
        return Chosen(plan.precision, smooth(network, plan.smoothing), plan, search)

    @cached_property
    def _captions(self) -> CalibrationSet:
        """The images of calibration and the model's captions of them."""
        from edgecap.quant.calibration_set import collect_calibration

        calibration, model = self._request.calibration, self._model
        self._say(f"calibrating on {calibration.images} images")
        model_inputs = calibration.model_inputs(model.network.config.image_size)
        return collect_calibration(model.reference, model_inputs)

    def _calibrated(self, precision: str) -> Plan:
        from edgecap.reference.quant import calibrate

        return calibrate(
            self._model.network,
            self._captions,
            self._request.calibration,
            model=self._model.name,
            weights=self._model.weights,
            precision=precision,
        )

    def _searched(self, max_drop: float) -> tuple[Plan, Search]:
        """Captions are scored in the languages of the model that scenes can be described in."""
        from edgecap.reference.quant import ReferenceSubject

        begun = time.monotonic()
        plan = self._calibrated("w8a8")
        subject = ReferenceSubject(self._model.network)
        return search_plan(
            subject, plan, self._captions, self._evaluator, max_drop, begun, self._say
        )

    def _evaluator(self) -> TaskEvaluator:
        from edgecap.quant.search.evaluator import TaskEvaluator
        from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES
        from edgecap.reference.scenes.shipped import load_set

        languages = self._model.reference.languages
        unread = [language for language in languages if language not in GRAMMAR_LANGUAGES]
        if unread:
            self._say(
                f"no scene can be described in {', '.join(unread)}: losses there are not measured"
            )
        scored = [language for language in languages if language in GRAMMAR_LANGUAGES]
        scenes, extension = load_set("calibration"), self._model.extension
        return TaskEvaluator(self._model.network, scenes, scored, extension)
