"""Which token may follow, and which is drawn: the token grammar and the sampler.

The sampler's scores are whole numbers / 16, so that every language reads the same float32.

Letters: V vocabulary.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
from files import Topic

from edgecap.bundle.grammar import Grammar, Move, check_grammar
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode
from edgecap.reference.manifest import box_grammar
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.sampling import Sampling, draw, probabilities, start, uniform

V, EOS, FIRST, BINS = 40, 1, 30, 5  # locations 30 ... 34 of forty tokens
SCALE = 16


def small_grammar() -> Grammar:
    """Words and boxes over V tokens, by the states of edgecap's own models."""
    return Grammar(
        start={"boxes": "text", "plain": "plain"},
        classes={
            "end": ((EOS, EOS + 1),),
            "word": ((4, FIRST), (FIRST + BINS, V)),
            "corner": ((FIRST, FIRST + BINS - 1),),
            "edge": ((FIRST, FIRST + BINS),),
        },
        states=box_grammar(V).states,
    )


def plain(grammar: Grammar) -> Any:
    """A grammar as a manifest writes it."""
    return dataclasses.asdict(grammar)


def ranges(mask: np.ndarray) -> list[list[int]]:
    """The true places of bool [V] as [from, to) pairs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return edges.reshape(-1, 2).tolist()


def grammars() -> Topic:
    """Walks: per step how many tokens are left, the state, what may follow, what is taken."""
    generator = random.Random(3)
    walks: list[dict[str, Any]] = []
    for number in range(24):
        start, known = ("boxes", "plain")[number % 4 == 3], (V, V - 3)[number % 2]
        length = (1, 3, 4, 5, 8, 16)[number % 6]
        rule = TokenGrammar(small_grammar(), start, V, known)
        state, tokens, steps = rule.start, list[int](), list[dict[str, Any]]()
        while len(tokens) < length and tokens[-1:] != [EOS]:
            left = length - len(tokens)
            mask = rule.allowed(state, tokens, left)
            # Locations are few: they are preferred, or no walk would write a box.
            choices = [t for t in np.flatnonzero(mask).tolist() if t != EOS]
            places = [t for t in choices if FIRST <= t < FIRST + BINS]
            token = generator.choice((places if generator.random() < 0.7 else choices) or [EOS])
            steps.append({"left": left, "state": state, "allowed": ranges(mask), "token": token})
            tokens.append(token)
            state = rule.after(state, token)
        walks.append({"start": start, "vocabulary": V, "known": known, "steps": steps})
    return Topic("grammar", grammar=plain(small_grammar()), walks=walks, **_refusals())


def _refusals() -> dict[str, list[dict[str, Any]]]:
    good = small_grammar()
    end, word = good.states["text"][1], good.states["text"][0]

    def states(**changed: tuple[Move, ...]) -> Grammar:
        return dataclasses.replace(good, states={**good.states, **changed})

    def classes(**changed: tuple[tuple[int, ...], ...]) -> Grammar:
        return dataclasses.replace(good, classes={**good.classes, **changed})

    bad = {
        "no plain start": dataclasses.replace(good, start={"boxes": "text"}),
        "a start of another name": dataclasses.replace(good, start={**good.start, "x": "text"}),
        "a start without moves": dataclasses.replace(good, start={"boxes": "end", "plain": "text"}),
        "an unknown start": dataclasses.replace(good, start={"boxes": "no", "plain": "text"}),
        "a range of three": classes(edge=((1, 2, 3),)),
        "an empty class": classes(edge=()),
        "a range that goes down": classes(edge=((5, 4),)),
        "ranges that touch": classes(edge=((4, 5), (5, 6))),
        "beyond the vocabulary": classes(edge=((4, V + 1),)),
        "a negative id": classes(edge=((-1, 4),)),
        "an unknown class": states(x0=(Move("no", "y0", 1, 0),)),
        "an unknown state": states(x0=(Move("corner", "no", 1, 0),)),
        "room 0": states(x0=(Move("corner", "y0", 0, 0),)),
        "room 65": states(x0=(Move("corner", "y0", 65, 0),)),
        "above 65": states(x0=(Move("corner", "y0", 1, 65),)),
        "above -1": states(x0=(Move("corner", "y0", 1, -1),)),
        "an end without <eos>": states(x0=(Move("corner", "end", 1, 0),)),
        "two moves for a token": states(x0=(Move("corner", "y0", 1, 0), Move("edge", "y0", 1, 0))),
        "too many states": states(**{f"s{i}": (word, end) for i in range(64)}),
    }
    cases = []
    for name, grammar in bad.items():
        try:
            check_grammar(grammar, V)
        except BundleError as error:
            cases.append({"name": name, "grammar": plain(grammar), "code": error.code})
        else:
            raise AssertionError(f"{name} is not refused")
    # Valid, and yet it may allow no token.
    stuck = states(x0=(Move("corner", "y0", 3, 0),))
    assert decode(Grammar, plain_lists(stuck), "grammar") == stuck
    rule = TokenGrammar(stuck, "boxes", V, V)
    try:
        rule.allowed("x0", [FIRST], 2)
    except BundleError as error:
        dead = {"grammar": plain(stuck), "state": "x0", "tokens": [FIRST], "left": 2}
        return {"refusals": cases, "stuck": [{**dead, "code": error.code}]}
    raise AssertionError("something may follow")


def plain_lists(grammar: Grammar) -> Any:
    """As read from JSON: lists, no tuples."""

    def lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: lists(item) for name, item in value.items()}
        return [lists(item) for item in value] if isinstance(value, (list, tuple)) else value

    return lists(plain(grammar))


def sampler() -> Topic:
    """`uniform`: number `count` of the stream of a seed and the CRC-32 of an image, times 2^53.

    `draws`: scores, null for forbidden tokens; what is kept, and which token a number u takes.
    A u lies in the middle of a token's share: no rounding decides.
    """
    streams = []
    for seed, index in ((0, 0), (1, 0), (0, 1), (7, 0xDEADBEEF), (2**32 - 1, 2**32 - 1)):
        stream = start(seed, index)
        streams += [
            [seed, index, count, int(uniform(stream, count) * 2**53)]
            for count in (0, 1, 2, 93, 2**20)
        ]
    generator = random.Random(4)
    draws = []
    for number in range(48):
        size = (1, 2, 7, 24)[number % 4]
        scores: list[int | None] = [generator.randint(-80, 80) for _ in range(size)]
        if number % 3 == 1:  # equals, to see which goes first
            scores = [s // 40 * 40 for s in scores if s is not None]
        if number % 5 == 2:
            scores = [s if i % 2 == 0 else None for i, s in enumerate(scores)]
        how = Sampling(
            temperature=(1.0, 0.5, 2.5, 0.01, 100.0)[number % 5],
            top_k=(None, 1, 3, 1000)[number // 2 % 4],
            top_p=(None, 0.3, 0.9, 1.0, 1e-9)[number // 3 % 5],
        )
        given = np.array([-np.inf if s is None else s / SCALE for s in scores], np.float32)
        chances = probabilities(given, how)  # [V]
        sums = np.cumsum(chances)
        kept = np.flatnonzero(chances > 1e-12)
        taken = []
        for token in kept:
            u = float(sums[token] - chances[token] / 2)
            assert draw(chances, u) == token
            taken.append([u, int(token)])
        draws.append(
            {
                "scores": scores,
                "temperature": how.temperature,
                "top_k": how.top_k,
                "top_p": how.top_p,
                "kept": [[int(t), float(chances[t])] for t in kept],
                "taken": taken,
            }
        )
    return Topic("sampler", scale=SCALE, uniform=streams, draws=draws)
