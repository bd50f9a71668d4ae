"""Plans from the cheapest to the widest, each step the one that gains most for its price.

A step widens one layer by one kind: w8a8 to the layer's kind in w8, that to fp32. Its gain is the
divergence it saves, its price the bit operations it adds. The ladder ends where the next plan would
be larger than the model in float16: fp16 loses nothing, so a larger int8 plan has no use.

Tables that are only looked up in, and convolutions, stay as they are: no activation is rounded
there, and their weights are rounded by the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from edgecap.quant.plan import Plan
from edgecap.quant.search.cost import Costs
from edgecap.quant.search.sensitivity import Sensitivity, wider


@dataclass(frozen=True)
class Candidate:
    """One plan of the ladder."""

    kinds: dict[str, str]  # layer -> kind
    predicted: float  # nats per step, the sum over layers
    bit_operations: int
    size: int  # bytes


def build_candidates(cheapest: Plan, sensitivity: Sensitivity, costs: Costs) -> list[Candidate]:
    """Every plan on the way from `cheapest` to the widest that has a use."""
    kinds = {name: layer.kind for name, layer in cheapest.layers.items()}
    candidates = [_candidate(kinds, sensitivity, costs)]
    while True:
        steps = []
        for name in sensitivity:
            for to in wider(cheapest, name, kinds[name])[:1]:
                if costs.size({**kinds, name: to}) <= costs.half:
                    steps.append((_worth(name, kinds[name], to, sensitivity, costs), name, to))
        if not steps:
            return candidates
        _, name, to = max(steps)
        kinds[name] = to
        candidates.append(_candidate(kinds, sensitivity, costs))


def pick_candidates(candidates: Sequence[Candidate], number: int) -> list[Candidate]:
    """At most `number` candidates, both ends among them, evenly apart in the log of the
    prediction.
    """
    top = max(candidates[0].predicted, 1e-12)
    bottom = max(candidates[-1].predicted, top / 100)
    goals = [top * (bottom / top) ** (i / (number - 1)) for i in range(1, number - 1)]
    chosen = {0, len(candidates) - 1}
    for goal in goals:
        chosen.add(min(range(len(candidates)), key=lambda i: abs(_log(candidates[i]) - log(goal))))
    return [candidates[i] for i in sorted(chosen)]


def _log(candidate: Candidate) -> float:
    return log(max(candidate.predicted, 1e-12))


def _candidate(kinds: Mapping[str, str], sensitivity: Sensitivity, costs: Costs) -> Candidate:
    predicted = sum(by_kind[kinds[name]] for name, by_kind in sensitivity.items())
    return Candidate(dict(kinds), predicted, costs.bit_operations(kinds), costs.size(kinds))


def _worth(name: str, kind: str, to: str, sensitivity: Sensitivity, costs: Costs) -> float:
    """Divergence saved per bit operation; noise may make it negative, which is worth nothing."""
    price = costs.of_layer(name, to) - costs.of_layer(name, kind)
    return max(sensitivity[name][kind] - sensitivity[name][to], 0.0) / price
