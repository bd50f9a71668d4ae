"""Decoding against scripts: the fake session fails where the host mixes up its cache."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_session import FakeSession
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecap.bundle.grammar import BOXES, PLAIN, Grammar
from edgecap.core.errors import BundleError
from edgecap.reference.manifest import box_grammar
from edgecap.runtime.cache import Cache
from edgecap.runtime.decode import Limits, beam_search, generate, repeat, walk
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.session import ImageCode, Step

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


def limits(length: int = 12, grammar: TokenGrammar | None = None) -> Limits:
    return Limits(EOS, length, grammar)


def cache_of(session: FakeSession, number: int) -> Cache:
    images = np.zeros((number, 4, 4, 3), np.uint8)  # [B,S,S,3]
    images[:, 0, 0, 0] = np.arange(number)
    return Cache(session, session.encode_image(images), T)


@given(
    scripts=st.lists(st.lists(st.integers(4, 29), max_size=9), min_size=1, max_size=6),
    batch=st.sampled_from([None, 1]),
)
@settings(deadline=None)
def test_every_sequence_gets_its_own_script(scripts: list[list[int]], batch: int | None) -> None:
    session = FakeSession([[*script, EOS] for script in scripts], V, batch=batch)
    results = generate(cache_of(session, len(scripts)), PROMPT, limits())
    assert [result.tokens for result in results] == scripts
    assert all(result.complete for result in results)


def test_finished_sequences_leave_the_batch() -> None:
    session = FakeSession([[EOS], [5, EOS], [5, 6, EOS]], V)
    generate(cache_of(session, 3), PROMPT, limits())
    assert session.steps == [3, 3, 2, 1]


def test_the_limit_cuts_and_says_so() -> None:
    session = FakeSession([[5, 6, 7, EOS]], V)
    (result,) = generate(cache_of(session, 1), PROMPT, limits(2))
    assert (result.tokens, result.complete) == ([5, 6], False)
    assert session.steps == [1, 1, 1]  # the last token is not fed: nobody asks what follows it


def test_scores_are_log_probabilities_of_the_model() -> None:
    (result,) = generate(cache_of(FakeSession([[5, EOS]], V), 1), PROMPT, limits())
    expected = 5 - math.log(math.exp(5) + V - 1)
    assert [choice.score for choice in result.chosen] == pytest.approx([expected])
    assert result.score == pytest.approx(expected)


def test_walking_yields_as_it_goes() -> None:
    session = FakeSession([[5, 6, EOS]], V)
    steps = walk(cache_of(session, 1), PROMPT, limits())
    assert next(steps)[0][1].token == 5
    assert len(session.steps) == len(PROMPT)


class Table:
    """A session whose next-token probabilities depend on the token before: logits[token]."""

    batch = None

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

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        raise NotImplementedError


# Greedy takes 5 (0.6) and then has nothing better than 0.3; by way of 6 each step has 0.9 or more.
GARDEN_PATH = {
    3: {5: 0.6, 6: 0.4},
    5: {7: 0.3, 8: 0.3, 9: 0.4},
    6: {10: 0.99, EOS: 0.01},
    10: {EOS: 1.0},
}


def beams_of(session: Table, beams: int) -> Cache:
    code = session.encode_image(np.zeros((1, 4, 4, 3), np.uint8))
    return Cache(session, repeat(code, beams), T)


def test_beams_find_what_greedy_misses() -> None:
    session = Table(GARDEN_PATH)
    assert generate(beams_of(session, 1), PROMPT, limits())[0].tokens[0] == 5
    found = beam_search(beams_of(session, 3), PROMPT, limits())
    assert found.tokens == [6, 10]
    assert found.complete
    assert found.score == pytest.approx((math.log(0.4) + math.log(0.99)) / 3, abs=1e-4)


def test_beams_rank_by_mean_not_by_length() -> None:
    short_or_long = {3: {EOS: 0.5, 5: 0.5}, 5: {6: 1.0}, 6: {7: 1.0}, 7: {EOS: 1.0}}
    found = beam_search(beams_of(Table(short_or_long), 2), PROMPT, limits())
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
    assert beam_search(beams_of(session, beams), PROMPT, limits()).tokens == script


def test_reordering_moves_text_rows_and_nothing_else() -> None:
    for batch in (None, 1):
        session = FakeSession([[5, 6, EOS]] * 3, V, batch=batch)
        cache = cache_of(session, 3)
        for token in (11, 12):
            cache.step([token] * 3)
        for b in range(3):  # mark the rows: text row 0 of sequence b holds 100 + b
            part = cache._parts[0] if batch is None else cache._parts[b]
            part[0][:, b if batch is None else 0, :, 4] = 100 + b
        cache.reorder([2, 0, 0])
        found = []
        for b in range(3):
            part = cache._parts[0] if batch is None else cache._parts[b]
            k = part[0][0, b if batch is None else 0, 0, :, 0]
            found.append((int(k[0]), int(k[4])))
        assert found == [(0, 102), (1, 100), (2, 100)]


def test_a_model_that_gives_no_numbers_is_refused() -> None:
    class Broken(FakeSession):
        def decode(self, *arguments: np.ndarray) -> Step:
            step = super().decode(*arguments)
            return step._replace(logits=step.logits * np.float32("nan"))

    with pytest.raises(BundleError, match=r"bundle\.not_finite"):
        generate(cache_of(Broken([[5, EOS]], V), 1), PROMPT, limits())


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
            cache = beams_of(Noise(seed), beams)
            bound = limits(3 + seed % 12, rule)
            search = beam_search if beams > 1 else lambda c, p, b: generate(c, p, b)[0]
            tokens = search(cache, PROMPT, bound).tokens
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
        generate(cache_of(FakeSession([[5, EOS]], V), 1), PROMPT, limits(grammar=stuck))
