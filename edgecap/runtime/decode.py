"""The decode loop: from a state that holds images to tokens, greedily, sampled or by beam search.

Works on token ids only; callers turn them into text. Letters: B sequences, V vocabulary, P image
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from edgecap.runtime.beams import beam_search
from edgecap.runtime.logits import token_log_probabilities
from edgecap.runtime.rules import Rules, no_token
from edgecap.runtime.state import State

# (scores f32 [V] of a step under the rules, index of the sequence, number of its tokens) -> token
Choose: TypeAlias = Callable[[np.ndarray, int, int], int]
# Bytes of logits that wait for their log-probabilities: more would be new pages each time.
_WAITING = 1 << 16


class Picked(NamedTuple):
    """One generated token, and the step that it was chosen from."""

    sequence: int
    token: int
    logits: np.ndarray  # f32 [V]
    attention: np.ndarray | None  # f32 [P], or [L,H,P]


class Chosen(NamedTuple):
    """One generated token, and the attention of the step that generated it."""

    token: int
    score: float  # log-probability (natural log) by the model, without the rules
    attention: np.ndarray | None  # f32 [P], mean over layers and heads


@dataclass
class Generated:
    """The tokens generated for one image, without the end token."""

    chosen: list[Chosen] = field(default_factory=list)
    complete: bool = False  # ended by an end token, not by the length limit
    end_score: float = 0.0  # log-probability of the end token

    @property
    def tokens(self) -> list[int]:
        return [chosen.token for chosen in self.chosen]

    @property
    def score(self) -> float:
        """Mean log-probability per token, the end included."""
        count = len(self.chosen) + self.complete
        return (sum(chosen.score for chosen in self.chosen) + self.end_score) / max(count, 1)


def walk(state: State, rules: Rules, choose: Choose | None = None) -> Iterator[list[Picked]]:
    """Decode all sequences of a state step by step; `choose`: by default the best token.

    Yields, per step, the token of each running sequence; one whose token ends it leaves the batch.
    """
    spec = rules.spec
    running = list(range(len(state)))
    generated: list[list[int]] = [[] for _ in running]
    places = [rules.start for _ in running]
    step = state.prompt(spec.begin)
    for count in range(spec.max_new_tokens):
        picks = []
        for b, sequence in enumerate(running):
            tokens, place, logits = generated[sequence], places[sequence], step.logits[b]
            if choose is None:
                token = rules.best(logits, tokens, place)
            else:
                scores = rules.constrained(logits, tokens, place)
                if scores.max() == -np.inf:
                    raise no_token()
                token = choose(scores, sequence, count)
            tokens.append(token)
            places[sequence] = rules.after(place, token)
            attention = None if step.attention is None else step.attention[b]
            picks.append(Picked(sequence, token, logits, attention))
        yield picks
        stay = [b for b, pick in enumerate(picks) if pick.token not in spec.eos]
        if not stay or count + 1 == spec.max_new_tokens:
            return
        if len(stay) < len(running):
            order = closed_up(stay)
            state.select(order)
            running = [running[b] for b in order]
        step = state.feed([generated[sequence][-1] for sequence in running])


def closed_up(stay: Sequence[int]) -> list[int]:
    """The rows that stay, ascending, in an order that moves few: the last ones fill the gaps."""
    gaps = sorted(set(range(len(stay))) - set(stay))
    filling = dict(zip(gaps, (b for b in stay if b >= len(stay)), strict=True))
    return [filling.get(b, b) for b in range(len(stay))]


def generate(state: State, rules: Rules, choose: Choose | None = None) -> list[Generated]:
    """Decode to the end; one result per sequence of the state.

    By beam search if the rules ask for several beams; `choose` is not used then.
    """
    if rules.spec.beams > 1:
        return [_searched(one, rules) for one in state.alone()]
    if state.is_one_by_one and len(state) > 1:  # each in turn: an engine keeps one state at hand
        return [
            generate(one, rules, choose and _numbered(choose, b))[0]
            for b, one in enumerate(state.alone())
        ]
    results = [Generated() for _ in range(len(state))]
    waiting: list[Picked] = []
    for picks in walk(state, rules, choose):
        waiting += picks
        if len(waiting) * picks[0].logits.nbytes >= _WAITING:
            _record(waiting, results, rules)
            waiting = []
    _record(waiting, results, rules)
    return results


def _numbered(choose: Choose, sequence: int) -> Choose:
    """The choice for one sequence of a batch that is decoded alone."""
    return lambda scores, _, count: choose(scores, sequence, count)


def _record(picks: list[Picked], results: list[Generated], rules: Rules) -> None:
    """Add tokens to their sequences. Log-probabilities of many steps at once cost less."""
    if not picks:
        return
    rows, tokens = [pick.logits for pick in picks], [pick.token for pick in picks]
    scores = token_log_probabilities(rows, tokens).tolist()
    for pick, score in zip(picks, scores, strict=True):
        result = results[pick.sequence]
        if pick.token in rules.spec.eos:
            result.complete, result.end_score = True, score
        else:
            result.chosen.append(Chosen(pick.token, score, pick.attention))


def _searched(state: State, rules: Rules) -> Generated:
    """The best caption of one image by beam search."""
    best, attention = beam_search(state, rules)
    chosen = [
        Chosen(token, score, looked)
        for token, score, looked in zip(best.tokens, best.scores, attention, strict=True)
    ]
    if chosen and chosen[-1].token in rules.spec.eos:
        return Generated(chosen[:-1], True, chosen[-1].score)
    return Generated(chosen)
