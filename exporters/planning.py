"""The plan that an int8 export obeys, and what goes with it: made once, before any format.

All formats obey it. How each kind of model is calibrated and searched for is in reference_plan and
checkpoint_plan.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecap.core.errors import InputError
from edgecap.core.formats import INT8
from edgecap.exporters.searched import Search
from edgecap.quant import plan as plans
from edgecap.quant.plan import Plan


@dataclass(frozen=True)
class Chosen:
    """A precision, and what a converter is given to reach it."""

    precision: str
    model: Any  # what the converter takes; smoothed by the plan, where there is one
    plan: Plan | None = None
    search: Search = Search()  # how the plan was found

    def summary(self) -> dict[str, Any]:
        """Of the plan, for the manifest."""
        return {} if self.plan is None else self.plan.summary() | self.search.manifest_entry()

    def write(self, directory: Path) -> None:
        """Put the plan into a bundle, and how it was found."""
        if self.plan is not None:
            plans.write_plan(self.plan, directory / plans.FILE)
            self.search.write(directory)


class Planner(ABC):
    """Makes each precision's plan on first use."""

    def __init__(self) -> None:
        self._chosen: dict[str, Chosen] = {}

    def choose(self, precision: str) -> Chosen:
        """What reaches a precision. A search chooses its own; so does a plan that is given.

        Raises InputError for a plan of other weights or layers, and GateError where a search finds
        none within its budget.
        """
        if precision not in self._chosen:
            self._chosen[precision] = self._choose(precision)
        return self._chosen[precision]

    @abstractmethod
    def _choose(self, precision: str) -> Chosen:
        """The same, each precision once."""


def read_plan(file: Path, precision: str, model: str, weights: str) -> Plan:
    """A plan from a file; InputError unless it is for these weights and this precision.

    Args:
        precision: as requested; any plan is for INT8.
        weights: the model's fingerprint, as plans remember it.
    """
    plan = plans.read_plan(file)
    plans.check_weights(plan, model, weights)
    if precision not in (INT8, plan.precision):
        raise InputError(
            "plan.precision",
            f"{file} is a plan for {plan.precision}, and {precision} was requested.",
            f"Run with: --precision {plan.precision}",
        )
    return plan
