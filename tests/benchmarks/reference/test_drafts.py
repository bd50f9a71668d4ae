"""Counting the steps that drafts would save."""

from __future__ import annotations

from edgecap.benchmarks.reference.drafts import NgramTable, copied, steps

PROMPT, EOS = [8, 3], 1
SEEN = [*PROMPT, 20, 21, 22, 30, 20, 21, 23, EOS]


def test_what_was_seen_takes_few_steps() -> None:
    table = NgramTable([SEEN])
    assert steps(SEEN, 2, table.draft, 1) == 4  # two tokens a step
    assert steps(SEEN, 2, table.draft, 7) == 1
    assert steps(SEEN, 2, lambda *_: [], 7) == len(SEEN) - 2


def test_wrong_drafts_cost_no_step_and_change_nothing() -> None:
    assert steps(SEEN, 2, lambda tokens, width: [99] * width, 3) == len(SEEN) - 2


def test_a_longer_context_decides() -> None:
    table = NgramTable([SEEN, [*PROMPT, 40, 21, 24, EOS]])
    assert table.draft([40, 21], 1) == [24]
    assert table.draft([30, 20, 21], 1) == [23]
    assert table.draft([98, 99], 3) == []


def test_a_copy_repeats_what_followed_before() -> None:
    draft = copied(NgramTable([SEEN]))
    assert draft([5, 6, 7, 9, 5, 6], 2) == [7, 9]
    assert draft([*PROMPT, 20], 1) == [21]
