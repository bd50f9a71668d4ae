"""Plans from the cheapest to the widest, each step the one that gains most for its price.

A step widens one layer by one kind: w8a8 to the layer's kind in w8, that to fp32. Its gain is the
divergence it saves, its price the bit operations it adds. The ladder ends where the next plan would
be larger than the model in float16: fp16 loses nothing, so a larger int8 plan has no use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from edgecap.quant.search.cost import Costs
from edgecap.quant.search.sensitivity import Harm, wider


@dataclass(frozen=True)
class Rung:
    """One plan of the ladder."""

    kinds: dict[str, str]  # layer -> kind
    predicted: float  # nats per step, the sum over layers
    bit_operations: int
    size: int  # bytes


def ladder(cheapest: Mapping[str, str], harm: Harm, costs: Costs) -> list[Rung]:
    """Every plan on the way from `cheapest` (layer -> kind) to the widest that has a use."""
    kinds = dict(cheapest)
    rungs = [_rung(kinds, harm, costs)]
    while True:
        steps = [
            (_worth(name, kind, wider(name, kind)[0], harm, costs), name)
            for name, kind in kinds.items()
            if kind != "fp32" and _fits(kinds, name, costs)
        ]
        if not steps:
            return rungs
        _, name = max(steps)
        kinds[name] = wider(name, kinds[name])[0]
        rungs.append(_rung(kinds, harm, costs))


def candidates(rungs: Sequence[Rung], number: int) -> list[Rung]:
    """At most `number` rungs, both ends among them, evenly apart in the log of the prediction."""
    top = max(rungs[0].predicted, 1e-12)
    bottom = max(rungs[-1].predicted, top / 100)
    goals = [top * (bottom / top) ** (i / (number - 1)) for i in range(1, number - 1)]
    chosen = {0, len(rungs) - 1}
    for goal in goals:
        chosen.add(min(range(len(rungs)), key=lambda i: abs(_log(rungs[i]) - log(goal))))
    return [rungs[i] for i in sorted(chosen)]


def _log(rung: Rung) -> float:
    return log(max(rung.predicted, 1e-12))


def _rung(kinds: Mapping[str, str], harm: Harm, costs: Costs) -> Rung:
    predicted = sum(harm[name][kind] for name, kind in kinds.items())
    return Rung(dict(kinds), predicted, costs.bit_operations(kinds), costs.size(kinds))


def _fits(kinds: Mapping[str, str], name: str, costs: Costs) -> bool:
    """Whether the plan is no larger than fp16 after this layer's next step."""
    return costs.size({**kinds, name: wider(name, kinds[name])[0]}) <= costs.half


def _worth(name: str, kind: str, to: str, harm: Harm, costs: Costs) -> float:
    """Divergence saved per bit operation; noise may make it negative, which is worth nothing."""
    price = costs.of_layer(name, to) - costs.of_layer(name, kind)
    return max(harm[name][kind] - harm[name][to], 0.0) / price
