"""The cheapest int8 plan whose captions stay within a budget.

    1. sensitivity.py   what each layer's rounding costs alone, in KL divergence
    2. candidates.py    plans from w8a8 everywhere to wide, best gain for its price first
    3. an evaluator     scores the captions of a few candidates, beside fp32's
    4. bisection        the cheapest of those candidates that keeps within the budget

Evaluators: exact scenes of the reference (evaluator.py); of any captioner the captions that are as
fp32 writes them, or scores against captions that people wrote (captions.py).

**The decision rule.** A plan is within a budget of X points where its estimated drop (paired.py) is
at most X. Of the reference it is the drop of exact scenes, on the 128 shipped scenes of the
calibration split in every language of the model that they can be described in, never on those of
the evaluation set. Its 95 % interval is reported and does not decide: with so few images it is
wider than such a budget, and to ask that all of it lie within would refuse plans that lose nothing.
A plan that truly loses X passes half the time; one that loses an interval's half-width more passes
in 1 of 40. Bisection takes a wider candidate to lose no more than a narrower one. Of the few
candidates tried the cheapest that passes is taken, which flatters it a little; images that nobody
looked at have the unflattered figure (`edgecap eval`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from edgecap.core.errors import GateError
from edgecap.quant.plan import KINDS, Plan, fingerprint_of
from edgecap.quant.search.candidates import Candidate, build_candidates, pick_candidates
from edgecap.quant.search.cost import Costs, costs
from edgecap.quant.search.paired import Drop, drop
from edgecap.quant.search.sensitivity import (
    CalibrationCaptions,
    Divergence,
    Sensitivity,
    with_kinds,
)
from edgecap.quant.simulate import simulate
from edgecap.quant.subject import Subject

IMAGES = 16  # that measure sensitivity: of the reference one for each language in each style
CANDIDATES = 9  # candidates that may be evaluated: both ends, and three of the others by bisection
SCHEMA = 2
Say = Callable[[str], None]


class Evaluator(Protocol):
    """What scores the captions of N images in J languages, 1 where there are no languages."""

    measure: str  # what may be lost, to be printed
    scores: np.ndarray  # [N,J], of fp32's captions; bool, or a score of which 0.01 is a point
    languages: tuple[str, ...]

    def score(self, simulated: Any, label: str) -> np.ndarray:
        """The same [N,J] of what `simulate` returns."""


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
            f"{self.candidate.bit_operations / 1e9:.3g} G bit operations, drop {self.drop}"
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
    measure: str  # what the drop is of
    score: float  # mean of fp32's captions
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
        return {"max_drop": self.max_drop, "measure": self.measure, **asdict(self.chosen.drop)}

    @property
    def latency(self) -> str:
        """What stands for latency."""
        return "not measured; bit operations per image of calibration"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "plan": fingerprint_of(self.chosen.plan),
            "max_drop": self.max_drop,
            "rule": f"estimated drop of {self.measure} at most the budget",
            "latency": self.latency,
            "measure": self.measure,
            "score_fp32": self.score,
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
    subject: Subject,
    base: Plan,
    calibration_set: CalibrationCaptions,
    make_evaluator: Callable[[], Evaluator],
    max_drop: float,
    say: Say = lambda _: None,
) -> SearchResult:
    """The cheapest plan within `max_drop` points.

    Args:
        subject: the float model.
        base: a calibrated plan with grids for all layers, w8a8 by default.
        calibration_set: what the plan was calibrated on; its first images measure sensitivity.
        make_evaluator: makes the evaluator; called when it is needed.

    Raises:
        GateError where no candidate is within the budget; InputError as of the evaluator.
    """
    say("measuring the sensitivity of each layer")
    few = calibration_set.first(IMAGES)
    price = costs(subject, few)
    divergence = Divergence(subject, base, few)
    sensitivity = divergence.sensitivity(price.rows, say)
    candidates = build_candidates(base, sensitivity, price)
    say("captioning in fp32")
    evaluated = _Evaluated(subject, base, divergence, make_evaluator(), say)
    chosen = _cheapest(pick_candidates(candidates, CANDIDATES), evaluated.point, max_drop)
    points = tuple(sorted(evaluated.points.values(), key=lambda p: p.candidate.bit_operations))
    if chosen is None:
        best = min(points, key=lambda p: p.drop.points)
        raise _impossible(best, evaluated.evaluator.measure, max_drop, price)
    return SearchResult(
        max_drop,
        chosen,
        points,
        tuple(candidates),
        sensitivity,
        evaluated.evaluator.measure,
        float(evaluated.evaluator.scores.mean()),
        evaluated.evaluator.languages,
    )


class _Evaluated:
    """Points by the price of their candidate, each made once."""

    def __init__(
        self,
        subject: Subject,
        base: Plan,
        divergence: Divergence,
        evaluator: Evaluator,
        say: Say,
    ) -> None:
        self._subject, self._base, self._divergence = subject, base, divergence
        self.evaluator, self._say = evaluator, say
        self.points: dict[int, Point] = {}

    def point(self, candidate: Candidate) -> Point:
        if candidate.bit_operations not in self.points:
            plan, label = with_kinds(self._base, candidate.kinds), f"plan {len(self.points) + 1}"
            scores = self.evaluator.score(simulate(self._subject, plan), f"{label}: captions")
            made = Point(
                plan,
                candidate,
                self._divergence.of(candidate.kinds, f"{label}: divergence"),
                drop(self.evaluator.scores, scores),
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


def _impossible(best: Point, measure: str, max_drop: float, price: Costs) -> GateError:
    return GateError(
        "max_drop.impossible",
        f"no int8 plan keeps the loss of {measure} within {max_drop:g} points; the best found "
        f"is {best}.",
        f"Allow more, fine-tune with edgecap qat, or take --fp16 ({price.half / 1e6:.1f} MB).",
    )
