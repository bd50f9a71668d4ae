"""Rules on logits are transformers' own LogitsProcessor classes, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    LogitsProcessorList,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.core.errors import BundleError
from edgecap.runtime.logits import (
    apply_rules,
    log_softmax,
    no_repeat_ngram,
    repetition_penalty,
    suppress,
)

V = 13
IDS = st.lists(st.integers(0, V + 2), min_size=1, max_size=14)  # some beyond the logits


def logits(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, V).astype(np.float32)


def theirs(processor: object, history: list[int], scores: np.ndarray) -> np.ndarray:
    given_ids = torch.tensor([history])
    return processor(given_ids, torch.from_numpy(scores)[None].clone())[0].numpy()  # type: ignore[operator]


@settings(max_examples=200, deadline=None)
@given(history=IDS, seed=st.integers(0, 99), penalty=st.sampled_from([0.5, 1.1, 1.3, 7.0]))
def test_repetition_penalty(history: list[int], seed: int, penalty: float) -> None:
    scores = logits(seed)
    expected = theirs(RepetitionPenaltyLogitsProcessor(penalty), history, scores)
    np.testing.assert_array_equal(repetition_penalty(scores, history, penalty), expected)


@settings(max_examples=300, deadline=None)
@given(
    history=st.lists(st.integers(0, 3) | st.integers(V - 1, V + 2), min_size=1, max_size=14),
    seed=st.integers(0, 99),
    size=st.integers(1, 5),
)
def test_no_repeat_ngram(history: list[int], seed: int, size: int) -> None:
    scores = logits(seed)
    expected = theirs(NoRepeatNGramLogitsProcessor(size), history, scores)
    np.testing.assert_array_equal(no_repeat_ngram(scores, history, size), expected)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 99), ids=IDS)
def test_suppress(seed: int, ids: list[int]) -> None:
    scores = logits(seed)
    expected = theirs(SuppressTokensLogitsProcessor(ids), [0], scores)
    np.testing.assert_array_equal(suppress(scores, ids), expected)


@settings(max_examples=300, deadline=None)
@given(
    begin=st.lists(st.integers(0, V - 1), min_size=1, max_size=3),
    generated=st.lists(st.integers(0, 4), max_size=8),
    seed=st.integers(0, 99),
    eos=st.lists(st.integers(0, V - 1), min_size=1, max_size=2, unique=True),
    least=st.integers(0, 9),
    penalty=st.sampled_from([1.0, 1.4]),
    ngram=st.integers(0, 3),
    suppressed=st.lists(st.integers(0, V - 1), max_size=3),
    first=st.lists(st.integers(0, V - 1), max_size=3),
    forced_first=st.none() | st.integers(0, V - 1),
    forced_last=st.lists(st.integers(0, V - 1), max_size=2, unique=True),
)
def test_all_rules_in_the_order_of_generate(
    begin: list[int],
    generated: list[int],
    seed: int,
    eos: list[int],
    least: int,
    penalty: float,
    ngram: int,
    suppressed: list[int],
    first: list[int],
    forced_first: int | None,
    forced_last: list[int],
) -> None:
    """Order and arguments as GenerationMixin._get_logits_processor of 5.23 writes them."""
    most = 9
    forced = forced_first if len(begin) == 1 else None  # it acts on a history of one id alone
    start = len(begin) if len(begin) > 1 or forced_first is None else len(begin) + 1
    processors = LogitsProcessorList()
    if penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(penalty))
    if ngram:
        processors.append(NoRepeatNGramLogitsProcessor(ngram))
    processors.append(MinLengthLogitsProcessor(least + len(begin), eos))
    processors.append(MinNewTokensLengthLogitsProcessor(len(begin), least, eos))
    if forced_first is not None:
        processors.append(ForcedBOSTokenLogitsProcessor(forced_first))
    if forced_last:
        processors.append(ForcedEOSTokenLogitsProcessor(most + len(begin), forced_last))
    if suppressed:
        processors.append(SuppressTokensLogitsProcessor(suppressed))
    if first:
        processors.append(SuppressTokensAtBeginLogitsProcessor(first, start))
    spec = GenerationSpec(
        begin=tuple(begin),
        eos=tuple(eos),
        max_new_tokens=most,
        min_new_tokens=least,
        repetition_penalty=penalty,
        no_repeat_ngram=ngram,
        suppress=tuple(suppressed),
        suppress_first=tuple(first),
        suppress_first_at=start - len(begin),
        forced_first=forced,
        forced_last=tuple(forced_last),
    )
    scores = logits(seed)
    before = scores.copy()
    expected = theirs(processors, begin + generated, scores)
    np.testing.assert_array_equal(apply_rules(spec, scores, generated), expected)
    np.testing.assert_array_equal(scores, before)  # the caller's logits are left alone


def test_history_before_begin_counts() -> None:
    """Ids that encode has consumed are history to transformers, and so to the rules."""
    spec = GenerationSpec((2,), (), 9, prefix=(7, 7, 1), repetition_penalty=2.0)
    scores = np.full(V, -1, np.float32)
    assert np.flatnonzero(apply_rules(spec, scores, [4]) == -2).tolist() == [1, 2, 4, 7]


def test_log_softmax_is_torchs() -> None:
    values = np.stack([logits(1), logits(2) * 20])  # [2,V]
    expected = torch.log_softmax(torch.from_numpy(values), -1).numpy()
    np.testing.assert_allclose(log_softmax(values), expected, atol=2e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(BundleError, match=r"\[bundle.not_finite\]"):
        log_softmax(np.array([0.0, bad], np.float32))
