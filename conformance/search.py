"""Greedy decoding, sampling and beam search over a scripted table of logits: no model.

The scripted model: h = 0; for every token fed, the prompt's included, h = (h * 31 + token + 1) mod
R; the logits of the step are row h of `table`, int16 [R,V], divided by 16. So a logit depends on
all that was said, and a host that mixes up the states of two beams says something else.

Letters: V vocabulary, R rows of the table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from files import Topic
from rules import EOS, SCALE, V, plain, small_grammar

from edgecap.runtime.cache import Cache
from edgecap.runtime.decode import Generated, Limits, beam_search, generate, most_probable, repeat
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.session import ImageCode, Step

R, T = 61, 24


class Scripted:
    """The scripted model as a session. What was said is read from the cache it is given."""

    batch = None

    def __init__(self, table: np.ndarray) -> None:
        self._logits = table.astype(np.float32) / SCALE  # [R,V]

    def encode_image(self, image: np.ndarray) -> ImageCode:
        rows = np.zeros((1, len(image), 1, 1, 1), np.float32)  # [L=1,B,H=1,P=1,Dh=1]
        return ImageCode(rows, rows.copy(), np.ones((len(image), 1), np.float32))

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        heads = [
            history([*map(int, k[0, b, 0, 1 : 1 + position[b], 0]), int(token[b, 0])])
            for b in range(len(token))
        ]
        new = token.astype(np.float32)[None, :, None, :, None]  # [1,B,1,1,1]
        attention = np.array(heads, np.float32)[:, None]  # [B,P=1]
        return Step(self._logits[heads], new, new, attention)

    decode_attention = decode

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        return np.ones((len(tokens), 1), np.float32)


def history(fed: list[int]) -> int:
    h = 0
    for token in fed:
        h = (h * 31 + token + 1) % R
    return h


def table() -> np.ndarray:
    """int16 [R,V]; <eos> is likely enough that captions end, and some scores are equal."""
    generator = np.random.Generator(np.random.PCG64(5))
    values = generator.integers(-60, 60, (R, V)).astype(np.int16)
    values[:, EOS] += 45
    values[::7] //= 30  # rows of many equals
    values[::7] *= 30
    return values


def run(values: np.ndarray, case: dict[str, Any]) -> Generated:
    """What today's Python makes of a case."""
    session = Scripted(values)
    rule = TokenGrammar(small_grammar(), case["rule"], V, V) if case["rule"] else None
    limits = Limits(EOS, case["length"], rule)
    code = session.encode_image(np.zeros((1, 1, 1, 3), np.uint8))
    if case["beams"] > 1:
        return beam_search(Cache(session, repeat(code, case["beams"]), T), case["prompt"], limits)
    choose = most_probable
    if case["sampling"] is not None:
        choose = Sampler(Sampling(**case["sampling"]), [0])
    (generated,) = generate(Cache(session, code, T), case["prompt"], limits, choose)
    return generated


def searching() -> Topic:
    values = table()
    asked: list[dict[str, Any]] = []
    for rule in ("boxes", "plain", None):
        for length in (1, 2, 3, 4, 6, 9, 22):
            for beams in (1, 2, 3, 4, 8, 32):
                asked.append({"rule": rule, "length": length, "beams": beams, "sampling": None})
        for seed in range(4):
            sampling = {"temperature": 1.0 + seed, "top_k": None, "top_p": None, "seed": seed}
            sampling |= [{}, {"top_k": 5}, {"top_p": 0.8}, {"top_k": 9, "top_p": 0.5}][seed]
            sampling["index"] = [0, 1, 7, 2**32 - 1][seed]
            asked.append({"rule": rule, "length": 22, "beams": 1, "sampling": sampling})
    asked = [{"prompt": [2, 3], **case} for case in asked]
    for last in range(4, V):  # other beginnings: where <eos> is likely and ranks low among beams
        case = {"prompt": [2, last], "rule": None, "length": 22, "beams": 2, "sampling": None}
        asked.append(case)
    topic = Topic(
        "search",
        scale=SCALE,
        vocabulary=V,
        rows=R,
        text_length=T,
        eos=EOS,
        grammar=plain(small_grammar()),
        cases=(cases := []),
    )
    topic.keep(values.astype("<i2"))
    for case in asked:
        found = run(values, case)
        cases.append(
            {
                **case,
                "tokens": found.tokens,
                "complete": found.complete,
                "scores": [round(c.score, 6) for c in found.chosen],
                "score": round(found.score, 6),
                "heads": [int(c.attention[0]) for c in found.chosen],
            }
        )
    return topic
