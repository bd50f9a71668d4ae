"""Decoding against scripts: the fake session fails where the host mixes up its cache."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_session import FakeSession
from hypothesis import given, settings
from hypothesis import strategies as st
from method_session import ImageCode, MethodSession, Step, interface_for

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.grammar import BOXES, PLAIN, Grammar
from edgecap.core.errors import BundleError, InputError
from edgecap.reference.manifest import box_grammar
from edgecap.runtime.decode import Generated, generate, walk
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.rules import Rules
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.state import State

V, EOS, T, PROMPT = 40, 1, 20, [2, 3]
FIRST, BINS = 30, 5  # locations 30 … 34
LOCATIONS = range(FIRST, FIRST + BINS)
TABLE = Grammar(
    start={BOXES: "text", PLAIN: "plain"},
    classes={
        "end": ((EOS, EOS + 1),),
        "word": ((4, FIRST), (FIRST + BINS, V)),
        "corner": ((FIRST, FIRST + BINS - 1),),
        "edge": ((FIRST, FIRST + BINS),),
    },
    states=box_grammar(V).states,
)
RULE = TokenGrammar(TABLE, BOXES, V, known=V)


def rules(length: int = 12, grammar: TokenGrammar | None = None, beams: int = 1) -> Rules:
    spec = GenerationSpec(tuple(PROMPT), (EOS,), length, beams=beams, early_stopping="ended")
    return Rules(spec, grammar)


def state_of(session: MethodSession, number: int, embedding: int = 3) -> State:
    images = np.zeros((number, 4, 4, 3), np.uint8)  # [B,S,S,3]
    images[:, 0, 0, 0] = np.arange(number)
    graphs = Graphs(session, interface_for(V, T, 4, embedding))
    return State(graphs, graphs.encode(images))


@given(
    scripts=st.lists(st.lists(st.integers(4, 29), max_size=9), min_size=1, max_size=6),
    batch=st.sampled_from([None, 1]),
)
@settings(deadline=None)
def test_every_sequence_gets_its_own_script(scripts: list[list[int]], batch: int | None) -> None:
    session = FakeSession([[*script, EOS] for script in scripts], V, batch=batch)
    results = generate(state_of(session, len(scripts)), rules())
    assert [result.tokens for result in results] == scripts
    assert all(result.complete for result in results)


def test_more_tokens_than_rows_are_refused() -> None:
    state = state_of(FakeSession([[5] * T], V), 1)
    for _ in range(T):
        state.feed([5])
    with pytest.raises(InputError, match=f"{T + 1} tokens were fed; at most {T} fit"):
        state.feed([5])


def test_finished_sequences_leave_the_batch() -> None:
    session = FakeSession([[EOS], [5, EOS], [5, 6, EOS]], V)
    generate(state_of(session, 3), rules())
    assert session.steps == [3, 3, 2, 1]


def test_the_limit_cuts_and_says_so() -> None:
    session = FakeSession([[5, 6, 7, EOS]], V)
    (result,) = generate(state_of(session, 1), rules(2))
    assert (result.tokens, result.complete) == ([5, 6], False)
    assert session.steps == [1, 1, 1]  # the last token is not fed: nobody asks what follows it


def test_scores_are_log_probabilities_of_the_model() -> None:
    (result,) = generate(state_of(FakeSession([[5, EOS]], V), 1), rules())
    expected = 5 - math.log(math.exp(5) + V - 1)
    assert [choice.score for choice in result.chosen] == pytest.approx([expected])
    assert result.score == pytest.approx(expected)


def test_walking_yields_as_it_goes() -> None:
    session = FakeSession([[5, 6, EOS]], V)
    steps = walk(state_of(session, 1), rules())
    assert next(steps)[0].token == 5
    assert len(session.steps) == len(PROMPT)


class Table(MethodSession):
    """A session whose next-token probabilities depend on the token before: logits[token]."""

    def __init__(self, table: dict[int, dict[int, float]]) -> None:
        self.table = table

    def encode_image(self, image: np.ndarray) -> ImageCode:
        k = np.zeros((1, len(image), 1, 4, 1), np.float32)
        return ImageCode(k, k.copy(), np.ones((len(image), 1), np.float32))

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        logits = np.full((len(token), V), -30.0, np.float32)
        for b, (before,) in enumerate(token):
            for following, probability in self.table.get(int(before), {EOS: 1.0}).items():
                logits[b, following] = math.log(probability)
        new = np.zeros((1, len(token), 1, 1, 1), np.float32)
        return Step(logits, new, new, np.zeros((len(token), 4), np.float32))


# Greedy takes 5 (0.6) and then has nothing better than 0.3; by way of 6 each step has 0.9 or more.
GARDEN_PATH = {
    3: {5: 0.6, 6: 0.4},
    5: {7: 0.3, 8: 0.3, 9: 0.4},
    6: {10: 0.99, EOS: 0.01},
    10: {EOS: 1.0},
}


def said(session: Table, beams: int, length: int = 12, grammar: Any = None) -> Generated:
    (found,) = generate(state_of(session, 1, 1), rules(length, grammar, beams))
    return found


def test_beams_find_what_greedy_misses() -> None:
    session = Table(GARDEN_PATH)
    assert said(session, 1).tokens[0] == 5
    found = said(session, 3)
    assert found.tokens == [6, 10]
    assert found.complete
    assert found.score == pytest.approx((math.log(0.4) + math.log(0.99)) / 3, abs=1e-4)


def test_beams_rank_by_mean_not_by_length() -> None:
    short_or_long = {3: {EOS: 0.5, 5: 0.5}, 5: {6: 1.0}, 6: {7: 1.0}, 7: {EOS: 1.0}}
    found = said(Table(short_or_long), 2)
    assert found.tokens == [5, 6, 7]


@given(
    script=st.lists(st.integers(4, 29), max_size=9),
    batch=st.sampled_from([None, 1]),
    beams=st.integers(1, 4),
)
@settings(deadline=None)
def test_one_clear_caption_is_found_by_any_number_of_beams(
    script: list[int], batch: int | None, beams: int
) -> None:
    script = list(dict.fromkeys(script))  # a table knows only the token before
    pairs = zip([3, *script], [*script, EOS], strict=True)
    table = {before: {after: 1.0} for before, after in pairs}
    session = Table(table)
    session.batch = batch
    assert said(session, beams).tokens == script


@pytest.mark.parametrize("batch", [None, 1])
def test_selecting_moves_text_rows_and_nothing_else(batch: int | None) -> None:
    session = FakeSession([[5, 6, EOS], [5, 6, EOS]], V, batch=batch)
    state = state_of(session, 2)
    for token in PROMPT:
        state.feed([token] * 2)
    state.select([1, 1, 0, 1])  # sequences of one image, and of another
    for choice in ([0, 2, 1, 3], [3, 2, 1], [2, 2], [1, 0], [0]):
        state.select(choice)
    assert state.feed([5]).logits.argmax() == 6  # the fake fails where rows were mixed up


@pytest.mark.parametrize("batch", [None, 1])
def test_sequences_part_and_keep_what_they_said(batch: int | None) -> None:
    """The fake checks that the rows of each sequence hold its own tokens."""

    class Free(FakeSession):
        def decode(
            self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
        ) -> Step:
            rows = k[0, :, 0, self.patches :, 0]  # [B,T]
            logits = np.zeros((len(token), V), np.float32)
            for b in range(len(token)):
                told.append([*map(int, rows[b, : position[b]]), int(token[b, 0])])
            new = token.astype(np.float32)[None, :, None, :, None]
            return Step(logits, new, new, np.ones((len(token), self.patches), np.float32))

    told: list[list[int]] = []
    state = state_of(Free([[EOS]], V, batch=batch), 1)
    state.prompt([2, 3])
    state.select([0, 0, 0])
    state.feed([10, 11, 12])
    state.select([2, 0, 0])
    state.feed([20, 21, 22])
    state.select([1, 1, 0])
    told.clear()
    state.feed([30, 31, 32])
    assert told == [[2, 3, 10, 21, 30], [2, 3, 10, 21, 31], [2, 3, 12, 20, 32]]


def test_a_model_that_gives_no_numbers_is_refused() -> None:
    class Broken(FakeSession):
        def decode(self, *arguments: np.ndarray) -> Step:
            step = super().decode(*arguments)
            return step._replace(logits=step.logits * np.float32("nan"))

    with pytest.raises(BundleError, match=r"bundle\.not_finite"):
        generate(state_of(Broken([[5, EOS]], V), 1), rules())


@pytest.mark.parametrize(
    ("beams", "sampler"), [(1, None), (3, None), (1, Sampler(Sampling(), [0]))]
)
def test_rules_that_allow_no_token_are_refused(beams: int, sampler: Sampler | None) -> None:
    spec = GenerationSpec((2, 3), (EOS,), 1, beams=beams, suppress_first=(5,), forced_last=(5,))
    with pytest.raises(BundleError, match=r"bundle\.generation.*allow no token"):
        generate(state_of(FakeSession([[5, EOS]], V), 1), Rules(spec), sampler)


class Noise(Table):
    """Random logits that love locations: without the rule they make nonsense boxes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        step = Table({}).decode(token, position, k, v)
        logits = self.rng.standard_normal((len(token), V)).astype(np.float32)
        logits[:, FIRST : FIRST + BINS] += 2
        return step._replace(logits=logits)


def malformed(tokens: list[int]) -> int:
    count, place = 0, 0
    while place < len(tokens):
        if tokens[place] not in LOCATIONS:
            place += 1
            continue
        box = tokens[place : place + 4]
        whole = len(box) == 4 and all(edge in LOCATIONS for edge in box)
        count += not (whole and box[2] > box[0] and box[3] > box[1])
        place += 4
    return count


@pytest.mark.parametrize("beams", [1, 3])
def test_the_rule_makes_malformed_boxes_impossible(beams: int) -> None:
    no_grammar = boxes = 0
    for seed in range(60):
        for rule in (RULE, None):
            tokens = said(Noise(seed), beams, 3 + seed % 12, rule).tokens
            if rule is None:
                no_grammar += malformed(tokens)
            else:
                assert malformed(tokens) == 0
                assert not {0, 2, 3} & set(tokens)
                boxes += sum(token in LOCATIONS for token in tokens) // 4
    assert no_grammar > 10  # the test has teeth
    assert boxes > 10


def allowed(rule: TokenGrammar, tokens: list[int], left: int) -> list[int]:
    """What may follow, by the table."""
    state = rule.start
    for token in tokens:
        state = rule.after(state, token)
    return np.flatnonzero(rule.allowed(state, tokens, left)).tolist()


def test_the_rule_leaves_a_good_box_alone() -> None:
    box = [30, 31, 34, 32]
    for begun in range(5):
        may = allowed(RULE, [7, *box[:begun]], left=10)
        assert (box[begun] if begun < 4 else EOS) in may
        assert (EOS in may) == (begun in (0, 4))
    assert allowed(RULE, [33, 30], left=2) == [34]  # only x1 > x0 = 33
    assert allowed(RULE, [30, 32, 34], left=1) == [33, 34]


def test_a_box_begins_only_where_it_fits() -> None:
    assert FIRST in allowed(RULE, [7], left=4)
    assert not set(LOCATIONS) & set(allowed(RULE, [7], left=3))
    assert FIRST + BINS - 1 not in allowed(RULE, [7], left=9)


def test_without_boxes_no_location_is_allowed() -> None:
    may = allowed(TokenGrammar(TABLE, PLAIN, V, known=V), [7], left=10)
    assert not set(LOCATIONS) & set(may)
    assert EOS in may


def test_ids_that_the_tokenizer_lacks_are_never_generated() -> None:
    assert allowed(RULE, [], left=2)[-1] == V - 1
    assert allowed(TokenGrammar(TABLE, BOXES, V, known=V - 2), [], left=2)[-1] == V - 3


def test_a_foreign_table_that_leaves_nothing_is_told_so() -> None:
    stuck = TokenGrammar(replace(TABLE, start={BOXES: "end", PLAIN: "plain"}), BOXES, V, known=V)
    with pytest.raises(BundleError, match=r"bundle\.grammar"):
        generate(state_of(FakeSession([[5, EOS]], V), 1), rules(grammar=stuck))
