"""Counting the steps that drafts would save."""

from __future__ import annotations

import pytest
import torch

from edgecap.benchmarks.reference.ablations.draft_heads import Read, steps_of, targets
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


@pytest.mark.parametrize(("width", "steps"), [(1, 4), (2, 3), (3, 2)])
def test_heads_that_are_right_save_steps(width: int, steps: int) -> None:
    chosen = torch.arange(9)  # after two tokens of the prompt, seven tokens and what follows them
    one = Read(chosen, torch.zeros(9, 1), torch.zeros(9, 1))
    right = torch.cat([targets(one, 3), torch.zeros(1, 3, dtype=torch.int64)])
    assert right[1].tolist() == [2, 3, 4]
    assert steps_of(one, right, width) == steps
    assert steps_of(one, right + 1, width) == 7
