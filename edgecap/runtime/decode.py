"""Decoding for schema 1: from a cache that holds an image to tokens, greedily or by beam search.

Works on token ids only; callers turn them into text. Letters as in session.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from edgecap.runtime.cache import Cache
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.session import ImageCode


class Chosen(NamedTuple):
    """One generated token, and the attention of the step that generated it."""

    token: int
    score: float  # log-probability (natural log)
    attention: np.ndarray  # f32 [P], mean over layers and heads


@dataclass
class Generated:
    """The tokens generated for one image, without `<eos>`."""

    chosen: list[Chosen] = field(default_factory=list)
    complete: bool = False  # ended by <eos>, not by the length limit
    end_score: float = 0.0  # log-probability of <eos>

    @property
    def tokens(self) -> list[int]:
        return [chosen.token for chosen in self.chosen]

    @property
    def score(self) -> float:
        """Mean log-probability per token, `<eos>` included; beams are ranked by it."""
        count = len(self.chosen) + self.complete
        return (sum(chosen.score for chosen in self.chosen) + self.end_score) / max(count, 1)


@dataclass(frozen=True)
class Limits:
    """When to stop, and which tokens are allowed."""

    eos: int
    length: int  # maximum number of tokens, <eos> included
    grammar: TokenGrammar | None  # None: unconstrained, boxes may be malformed

    @property
    def start(self) -> str:
        """The grammar state of an empty sequence."""
        return self.grammar.start if self.grammar else ""

    def after(self, state: str, token: int) -> str:
        """The grammar state after `token`."""
        return self.grammar.after(state, token) if self.grammar else state

    def constrained(self, scores: np.ndarray, state: str, tokens: Sequence[int]) -> np.ndarray:
        """Scores f32 [V] of the token after `tokens`, -inf where the grammar does not allow it."""
        if self.grammar is None:
            return scores
        mask = self.grammar.allowed(state, tokens, self.length - len(tokens))  # [V]
        return np.where(mask, scores, -np.inf)


# (scores f32 [V] of a step with -inf for tokens that are not allowed, index of the sequence, number
# of its tokens) -> token
Choose: TypeAlias = Callable[[np.ndarray, int, int], int]


def most_probable(scores: np.ndarray, sequence: int, count: int) -> int:
    """Greedy decoding."""
    return int(scores.argmax())


def walk(
    cache: Cache, prompt: Sequence[int], limits: Limits, choose: Choose = most_probable
) -> Iterator[list[tuple[int, Chosen]]]:
    """Decode all sequences of a cache step by step; `choose` selects each token.

    Yields, per step, (index of the sequence, its token) for each running sequence; a sequence
    whose token is `<eos>` leaves the batch.
    """
    running = list(range(len(cache)))
    generated: list[list[int]] = [[] for _ in running]
    states = [limits.start for _ in running]
    step = cache.prompt(prompt)
    for count in range(limits.length):
        scores = log_softmax(step.logits)  # [B,V]
        choices = []
        for b, sequence in enumerate(running):
            # On logits, because two of them may round to the same log-probability.
            constrained = limits.constrained(
                step.logits[b], states[sequence], generated[sequence]
            )  # [V]
            token = choose(constrained, sequence, count)
            generated[sequence].append(token)
            states[sequence] = limits.after(states[sequence], token)
            choices.append((sequence, Chosen(token, float(scores[b, token]), step.attention[b])))
        yield choices
        stay = [b for b, (_, choice) in enumerate(choices) if choice.token != limits.eos]
        if not stay or count + 1 == limits.length:
            return
        if len(stay) < len(running):
            cache.keep(stay)
            running = [running[b] for b in stay]
        step = cache.step([generated[sequence][-1] for sequence in running])


def generate(
    cache: Cache, prompt: Sequence[int], limits: Limits, choose: Choose = most_probable
) -> list[Generated]:
    """Decode to the end; one result per sequence of the cache."""
    results = [Generated() for _ in range(len(cache))]
    for choices in walk(cache, prompt, limits, choose):
        for sequence, choice in choices:
            if choice.token == limits.eos:
                results[sequence].complete = True
                results[sequence].end_score = choice.score
            else:
                results[sequence].chosen.append(choice)
    return results


def beam_search(cache: Cache, prompt: Sequence[int], limits: Limits) -> Generated:
    """The best of several sequences by mean log-probability per token.

    `cache` holds the same image once per beam (see `repeat`). The search ends when there are as
    many finished sequences as beams and no running one has a better mean. Ties go to the earlier
    beam, then to the lower id.
    """
    beams = len(cache)
    step = cache.prompt(prompt)
    live, states = [Generated()], [limits.start]  # all rows are equal at first: use one
    finished: list[Generated] = []
    for count in range(limits.length):
        scores = log_softmax(step.logits[: len(live)])  # [live,V]
        constrained = [
            limits.constrained(row, state, sequence.tokens)
            for row, state, sequence in zip(scores, states, live, strict=True)
        ]
        continued: list[tuple[int, Generated]] = []
        for rank, (b, token) in enumerate(_best(live, np.stack(constrained), 2 * beams)):
            score = float(scores[b, token])
            if token != limits.eos:
                choice = Chosen(token, score, step.attention[b])
                continued.append((b, Generated([*live[b].chosen, choice])))
            elif rank < beams:
                finished.append(Generated(live[b].chosen, True, score))
            if len(continued) == beams:
                break
        live = [sequence for _, sequence in continued]
        states = [limits.after(states[b], sequence.tokens[-1]) for b, sequence in continued]
        finished = sorted(finished, key=lambda done: -done.score)[:beams]
        if not live or (
            len(finished) == beams
            and finished[-1].score >= max(sequence.score for sequence in live)
        ):
            break
        if count + 1 < limits.length:
            # If there are fewer continuations than beams, the idle rows repeat the first.
            idle = beams - len(live)
            parents = [b for b, _ in continued]
            cache.reorder(parents + [parents[0]] * idle)
            tokens = [sequence.chosen[-1].token for sequence in live]
            step = cache.step(tokens + [tokens[0]] * idle)
    return max(finished or live, key=lambda sequence: sequence.score)


def _best(live: list[Generated], constrained: np.ndarray, number: int) -> list[tuple[int, int]]:
    """(beam, token) pairs by total log-probability, best first; constrained [live,V]."""
    totals = np.array([sum(c.score for c in sequence.chosen) for sequence in live])  # [live]
    candidates = (totals[:, None] + constrained).ravel()  # [live*V]
    order = np.argsort(-candidates, kind="stable")[:number]
    V = constrained.shape[1]
    return [(int(i) // V, int(i) % V) for i in order if np.isfinite(candidates[i])]


def repeat(code: ImageCode, beams: int) -> ImageCode:
    """The code of one image, repeated per beam: k, v [L,1,H,P,Dh] to [L,beams,H,P,Dh]."""
    return ImageCode(
        code.k.repeat(beams, 1), code.v.repeat(beams, 1), code.embedding.repeat(beams, 0)
    )
