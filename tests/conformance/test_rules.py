"""edgecap's grammar, sampler and searches against the vectors."""

from typing import Any

import numpy as np
import pytest
from method_session import ImageCode, MethodSession, Step, interface_for
from vectors import VECTORS, topic

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.grammar import Grammar, check_grammar
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode
from edgecap.runtime.decode import generate
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.rules import Rules
from edgecap.runtime.sampling import Sampler, Sampling, draw, probabilities, start, uniform
from edgecap.runtime.state import State

GRAMMAR, SAMPLER, SEARCH = topic("grammar"), topic("sampler"), topic("search")


@pytest.mark.parametrize("walk", GRAMMAR["walks"])
def test_walks(walk: dict[str, Any]) -> None:
    grammar = decode(Grammar, GRAMMAR["grammar"], "grammar")
    check_grammar(grammar, walk["vocabulary"])
    rule = TokenGrammar(grammar, walk["start"], walk["vocabulary"], walk["known"])
    state, tokens = rule.start, list[int]()
    for step in walk["steps"]:
        assert state == step["state"]
        expected = np.zeros(walk["vocabulary"], bool)
        for begin, end in step["allowed"]:
            expected[begin:end] = True
        np.testing.assert_array_equal(rule.allowed(state, tokens, step["left"]), expected)
        tokens.append(step["token"])
        state = rule.after(state, step["token"])


@pytest.mark.parametrize("case", GRAMMAR["refusals"], ids=lambda case: case["name"])
def test_grammars_that_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(BundleError) as refused:
        check_grammar(decode(Grammar, case["grammar"], "grammar"), 40)
    assert refused.value.code == case["code"]


@pytest.mark.parametrize("case", GRAMMAR["stuck"])
def test_where_nothing_may_follow(case: dict[str, Any]) -> None:
    grammar = decode(Grammar, case["grammar"], "grammar")
    check_grammar(grammar, 40)
    with pytest.raises(BundleError) as refused:
        TokenGrammar(grammar, "boxes", 40, 40).allowed(case["state"], case["tokens"], case["left"])
    assert refused.value.code == case["code"]


def test_uniform_numbers() -> None:
    for seed, index, count, expected in SAMPLER["uniform"]:
        assert uniform(start(seed, index), count) * 2**53 == expected


@pytest.mark.parametrize("case", SAMPLER["draws"], ids=range(len(SAMPLER["draws"])))
def test_draws(case: dict[str, Any]) -> None:
    given = [-np.inf if score is None else score / SAMPLER["scale"] for score in case["scores"]]
    how = Sampling(case["temperature"], case["top_k"], case["top_p"])
    chances = probabilities(np.array(given, np.float32), how)
    for token, chance in case["kept"]:
        assert chances[token] == pytest.approx(chance, abs=1e-9)
    for u, token in case["taken"]:
        assert draw(chances, u) == token


class Scripted(MethodSession):
    """The scripted model; see conformance/search.py."""

    def __init__(self) -> None:
        raw = np.frombuffer((VECTORS / "search.bin").read_bytes(), "<i2")
        table = raw.reshape(SEARCH["rows"], SEARCH["vocabulary"])
        self._logits = table.astype(np.float32) / SEARCH["scale"]  # [R,V]

    def encode_image(self, image: np.ndarray) -> ImageCode:
        rows = np.zeros((1, len(image), 1, 1, 1), np.float32)
        return ImageCode(rows, rows.copy(), np.ones((len(image), 1), np.float32))

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        heads = []
        for b in range(len(token)):
            h = 0
            for fed in [*map(int, k[0, b, 0, 1 : 1 + position[b], 0]), int(token[b, 0])]:
                h = (h * 31 + fed + 1) % len(self._logits)
            heads.append(h)
        new = token.astype(np.float32)[None, :, None, :, None]
        return Step(self._logits[heads], new, new, np.array(heads, np.float32)[:, None])

    decode_attention = decode

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        return np.ones((len(tokens), 1), np.float32)


@pytest.mark.parametrize("case", SEARCH["cases"], ids=str)
def test_searches(case: dict[str, Any]) -> None:
    session = Scripted()
    grammar = decode(Grammar, SEARCH["grammar"], "grammar")
    V, T, prompt = SEARCH["vocabulary"], SEARCH["text_length"], case["prompt"]
    rule = TokenGrammar(grammar, case["rule"], V, V) if case["rule"] else None
    spec = GenerationSpec(
        tuple(prompt), (SEARCH["eos"],), case["length"], beams=case["beams"], early_stopping="ended"
    )
    graphs = Graphs(session, interface_for(V, T, 1, 1))
    state = State(graphs, graphs.encode(np.zeros((1, 1, 1, 3), np.uint8)))
    choose = None
    if case["sampling"]:
        choose = Sampler(Sampling(**case["sampling"]), [0])
    (found,) = generate(state, Rules(spec, rule), choose)
    assert (found.tokens, found.complete) == (case["tokens"], case["complete"])
    assert [c.score for c in found.chosen] == pytest.approx(case["scores"], abs=2e-5)
    assert found.score == pytest.approx(case["score"], abs=2e-5)
    assert [int(c.attention[0]) for c in found.chosen] == case["heads"]
