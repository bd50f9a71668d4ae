"""Plans are timed in turns, on files that obey them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from tiny_quant import calibrated

from edgecap.exporters import front_latency
from edgecap.exporters.front_latency import ROUNDS, STEPS, _interleaved, caption_ms
from edgecap.exporters.steps import TIMED, Step
from edgecap.quant.plan import Layer
from edgecap.quant.search.cost import CAPTION


@pytest.mark.parametrize("format_", TIMED)
def test_every_plan_is_timed_once_a_round(format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calibrated()
    wide = replace(made.plan, layers=made.plan.layers | {"blocks.0.qkv": Layer("fp32", {})})
    sizes = []
    both = front_latency._both

    def looked(format_: str, directory: object, functions: object, examples: object) -> object:
        sizes.append(sum(file.stat().st_size for file in directory.iterdir()))
        return both(format_, directory, functions, examples)

    monkeypatch.setattr(front_latency, "_both", looked)
    ticks = count()
    taken = caption_ms(made.model, [made.plan, wide], format_, clock=lambda: next(ticks))
    # A clock that ticks at every look: each call takes 1 s, whichever plan it is.
    assert taken == (1e3 * (1 + CAPTION),) * 2
    assert next(ticks) == 2 * (ROUNDS + 1) * (1 + STEPS) * 2
    assert sizes[0] < sizes[1]  # the second keeps a layer in float32


def test_plans_take_turns_and_keep_their_own_times() -> None:
    now, order = [0.0], []

    def call(name: str, takes: float) -> Step:
        def made() -> None:
            now[0] += takes
            order.append(name)

        return made

    timed = [(call("a", 1), call("-", 2)), (call("b", 10), call("-", 20))]
    taken = _interleaved(timed, lambda: now[0])
    assert taken == (1e3 * (1 + 2 * CAPTION), 1e3 * (10 + 20 * CAPTION))
    turns = "".join(order).replace("-", "")
    assert turns == "abba" * ((ROUNDS + 1) // 2)
