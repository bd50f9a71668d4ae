"""The cheapest int8 plan whose captions stay within a budget.

    1. sensitivity.py   what each layer's rounding costs alone, in KL divergence
    2. candidates.py    plans from w8a8 everywhere to wide, best gain for its price first
    3. evaluator.py     captions of a few candidates against the truth, beside fp32's
    4. bisection        the cheapest of those candidates that keeps within the budget

**The decision rule.** A plan is within a budget of X points where its estimated drop (paired.py) is
at most X. The drop is of exact scenes, on the 128 shipped scenes of the calibration split in every
language of the model that they can be described in, never on those of the evaluation set. Its 95 %
interval is reported and does not decide: with so many scenes it is wider than such a budget, and to
ask that all of it lie within would refuse plans that lose nothing. A plan that truly loses X passes
half the time; one that loses an interval's half-width more passes in 1 of 40. Bisection takes a
wider candidate to lose no more than a narrower one. Of the few candidates tried the cheapest that
passes is taken, which flatters it a little; the evaluation set, which nobody looked at, has the
unflattered figure (`edgecap eval`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgecap.core.errors import GateError
from edgecap.quant.calibration_set import CalibrationSet
from edgecap.quant.plan import KINDS, Plan, fingerprint_of
from edgecap.quant.search.candidates import Candidate, build_candidates, pick_candidates
from edgecap.quant.search.cost import CAPTION, Costs, costs
from edgecap.quant.search.paired import Drop, drop
from edgecap.quant.search.sensitivity import Divergence, Sensitivity, with_kinds
from edgecap.reference.quant import simulate

if TYPE_CHECKING:
    from edgecap.reference.model.captioner import CaptionModel

CANDIDATES = 9  # candidates that may be evaluated: both ends, and three of the others by bisection
SCHEMA = 1
RULE = "estimated drop of exact scenes at most the budget"
Say = Callable[[str], None]


class ExactMatch(Protocol):
    """What scores captions: evaluator.TaskEvaluator, or a stand-in."""

    exact: np.ndarray  # bool [N,J], fp32's captions
    languages: tuple[str, ...]  # J

    def exact_match(self, plan: CaptionModel, label: str) -> np.ndarray:
        """bool [N,J]."""


@dataclass(frozen=True)
class Point:
    """A plan that was evaluated."""

    plan: Plan
    candidate: Candidate
    divergence: float  # nats per step, measured
    drop: Drop

    @property
    def name(self) -> str:
        """w8a8, w8, or mixed with the number of layers of each kind."""
        counts = self.plan.summary()["layers"]
        parts = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if kind in counts)
        return f"mixed ({parts})" if self.plan.precision == "mixed" else self.plan.precision

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.candidate.size / 1e6:.2f} MB, "
            f"{self.candidate.bit_operations / 1e9:.0f} G bit operations, drop {self.drop}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "precision": self.plan.precision,
            "layers": {name: layer.kind for name, layer in self.plan.layers.items()},
            "bytes": self.candidate.size,
            "bit_operations": self.candidate.bit_operations,
            "divergence": self.divergence,
            "divergence_predicted": self.candidate.predicted,
            "drop": asdict(self.drop),
        }


@dataclass(frozen=True)
class SearchResult:
    """What a search leaves."""

    max_drop: float  # points
    chosen: Point
    points: tuple[Point, ...]  # all that were evaluated, cheapest first
    candidates: tuple[Candidate, ...]
    sensitivity: Sensitivity
    exact: float  # 0-1, share of fp32's captions that are exact
    languages: tuple[str, ...]  # that captions were scored in
    seconds: float = 0.0  # to make the plan: calibration and search, set by who did all

    @property
    def front(self) -> list[Point]:
        """The evaluated points that no other beats in both price and drop."""
        kept: list[Point] = []
        for point in self.points:  # cheapest first
            if not kept or point.drop.points < kept[-1].drop.points:
                kept.append(point)
        return kept

    def summary(self) -> dict[str, Any]:
        """Its summary for a manifest, in JSON's types."""
        return {"max_drop": self.max_drop, **asdict(self.chosen.drop)}

    @property
    def latency(self) -> str:
        """What stands for latency."""
        return f"not measured; bit operations of one caption of {CAPTION} tokens"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "plan": fingerprint_of(self.chosen.plan),
            "max_drop": self.max_drop,
            "rule": RULE,
            "latency": self.latency,
            "exact_fp32": self.exact,
            "languages": list(self.languages),
            "chosen": self.points.index(self.chosen),
            "front": [self.points.index(point) for point in self.front],
            "points": [point.to_json() for point in self.points],
            "ladder": [
                {"bytes": r.size, "bit_operations": r.bit_operations, "divergence": r.predicted}
                for r in self.candidates
            ],
            "sensitivity": self.sensitivity,
            "seconds": round(self.seconds, 1),
        }


def search(
    network: CaptionModel,
    base: Plan,
    calibration_set: CalibrationSet,
    make_evaluator: Callable[[], ExactMatch],
    max_drop: float,
    say: Say = lambda _: None,
) -> SearchResult:
    """The cheapest plan within `max_drop` points.

    Args:
        network: the float model.
        base: a calibrated plan with grids for all layers, w8a8 by default.
        calibration_set: what the plan was calibrated on; its first images measure sensitivity.
        make_evaluator: makes the evaluator; called when it is needed.

    Raises:
        GateError where no candidate is within the budget; InputError as of the evaluator.
    """
    say("measuring what the rounding of each layer costs")
    divergence = Divergence(network, base, calibration_set)
    sensitivity = divergence.sensitivity(say)
    price = costs(network)
    candidates = build_candidates(
        {name: layer.kind for name, layer in base.layers.items()}, sensitivity, price
    )
    say("captioning calibration scenes in fp32")
    evaluated = _Evaluated(network, base, divergence, make_evaluator(), say)
    chosen = _cheapest(pick_candidates(candidates, CANDIDATES), evaluated.point, max_drop)
    points = tuple(sorted(evaluated.points.values(), key=lambda p: p.candidate.bit_operations))
    if chosen is None:
        raise _impossible(min(points, key=lambda p: p.drop.points), max_drop, price)
    exact = float(evaluated.evaluator.exact.mean())
    return SearchResult(
        max_drop,
        chosen,
        points,
        tuple(candidates),
        sensitivity,
        exact,
        evaluated.evaluator.languages,
    )


class _Evaluated:
    """Points by the price of their candidate, each made once."""

    def __init__(
        self,
        network: CaptionModel,
        base: Plan,
        divergence: Divergence,
        evaluator: ExactMatch,
        say: Say,
    ) -> None:
        self._network, self._base, self._divergence = network, base, divergence
        self.evaluator, self._say = evaluator, say
        self.points: dict[int, Point] = {}

    def point(self, candidate: Candidate) -> Point:
        if candidate.bit_operations not in self.points:
            plan, label = with_kinds(self._base, candidate.kinds), f"plan {len(self.points) + 1}"
            exact = self.evaluator.exact_match(simulate(self._network, plan), f"{label}: captions")
            made = Point(
                plan,
                candidate,
                self._divergence.of(candidate.kinds, f"{label}: divergence"),
                drop(self.evaluator.exact, exact),
            )
            self.points[candidate.bit_operations] = made
            self._say(str(made))
        return self.points[candidate.bit_operations]


def _cheapest(
    candidates: Sequence[Candidate], point: Callable[[Candidate], Point], max_drop: float
) -> Point | None:
    """The cheapest within the budget, both ends evaluated and the rest bisected; None: none is."""
    first, last = point(candidates[0]), point(candidates[-1])
    if first.drop.points <= max_drop:
        return first
    if last.drop.points > max_drop:
        return None
    fails, passes = 0, len(candidates) - 1
    while passes - fails > 1:
        middle = (fails + passes) // 2
        if point(candidates[middle]).drop.points <= max_drop:
            passes = middle
        else:
            fails = middle
    return point(candidates[passes])


def _impossible(best: Point, max_drop: float, price: Costs) -> GateError:
    return GateError(
        "max_drop.impossible",
        f"no int8 plan keeps the loss of exact scenes within {max_drop:g} points; the best found "
        f"is {best}.",
        f"Allow more, fine-tune with edgecap qat, or take --fp16 ({price.half / 1e6:.1f} MB).",
    )
