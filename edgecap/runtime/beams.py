"""Beam search equal to transformers' `generate(num_beams=K)` (5.23), over one image's state.

The algorithm, for ports. K beams; E end ids; P, the length penalty; N, the most tokens generated.
`running`: up to K open sequences, each with the sum of its log-probabilities, best first.
`done`: up to K finished sequences, each with its score, best first. Start with one open sequence
without tokens, sum 0, and no finished one. Then for t = 1, 2, … N:

1. Scores of every open sequence: log_softmax of its logits, then the rules of generation
   (edgecap.runtime.rules), plus its sum. Candidates are the M = max(2, 1 + E) * K best of all
   (sequence, token) pairs; ties are ordered by sequence, then by token.
2. A candidate has ended if its token is an end id or t = N. An ended one among the K best
   candidates is finished: its score is sum / t ** P, and it joins `done`, of which the K best are
   kept (of equal scores, the earlier). Ended candidates of rank K and beyond are dropped. Nothing
   joins if `done` is full and `early_stopping` is "first".
3. `running` becomes the K best candidates that have not ended (fewer if V is small).
4. Let best = the sum of the first in `running`, divided by L ** P, where L = N if `early_stopping`
   is "never" and P > 0, else L = t. The search ends where
   - `done` is full and best is not above its worst score, or
   - `done` is full and `early_stopping` is "first", or
   - no sequence is open (t = N).

The result is the best of `done`. Scores and sums are 32-bit floats.

With `early_stopping` "ended" only an end id finishes a sequence, scores and sums are 64-bit floats,
and where `done` is empty at the end, the result is the best of `running`.

Letters: K beams, k open sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.rules import Rules, no_token
from edgecap.runtime.state import State

# (tokens, parents) -> logits f32 [k,V] after one more token of every open sequence. `parents` holds
# the index of the sequence of the previous call that each continues: state is reordered first.
Step: TypeAlias = "Callable[[Sequence[int], Sequence[int]], np.ndarray]"


@dataclass(frozen=True)
class Hypothesis:
    """A sequence of generated ids, without the prompt."""

    tokens: tuple[int, ...]  # the end id included, where it has one
    log_probability: float  # sum over tokens, after the rules
    score: float  # log_probability / len(tokens) ** length_penalty
    scores: tuple[float, ...] = ()  # log-probability of each token, without the rules
    rows: tuple[int, ...] = ()  # the row of the step that each token was chosen from
    place: str = ""  # the state of the token grammar


def beam_search(state: State, rules: Rules) -> tuple[Hypothesis, list[np.ndarray | None]]:
    """The best caption of the one image of `state`, and the attention of each token's step.

    Raises BundleError (bundle.generation) if the rules forbid every caption.
    """
    first = state.prompt(rules.spec.begin)
    looked = [first.attention]

    def step(tokens: Sequence[int], parents: Sequence[int]) -> np.ndarray:
        state.select(parents)
        made = state.feed(tokens)
        looked.append(made.attention)
        return made.logits  # [k,V]

    found = search(rules, first.logits[0], step)
    if not found:
        raise no_token()
    best = found[0]
    attention = [
        None if whole is None else whole[row] for whole, row in zip(looked, best.rows, strict=False)
    ]
    return best, attention


def search(rules: Rules, logits: np.ndarray, step: Step) -> list[Hypothesis]:
    """Finished sequences, best first, at most `beams` of them.

    Args:
        rules: with beams, penalties and the token grammar.
        logits: f32 [V] after the last id of the prompt.
        step: called with the tokens of the open sequences, and the parents of each.
    """
    spec = rules.spec
    beams = spec.beams
    only_ended = spec.early_stopping == "ended"
    ends = frozenset(spec.eos)
    considered = max(2, 1 + len(ends)) * beams
    running = [Hypothesis((), 0.0, 0.0, place=rules.start)]
    done: list[Hypothesis] = []
    rows = logits[None]  # [k,V]
    for t in range(1, spec.max_new_tokens + 1):
        last = t == spec.max_new_tokens
        parents: list[int] = []
        opened: list[Hypothesis] = []
        full = len(done) == beams
        scores = log_softmax(rows)  # [k,V]
        for rank, (parent, token, total) in enumerate(_best(rules, running, scores, considered)):
            before = running[parent]
            candidate = Hypothesis(
                (*before.tokens, token),
                total,
                _divided(spec, total, t),
                (*before.scores, float(scores[parent, token])),
                (*before.rows, parent),
                rules.after(before.place, token),
            )
            if token in ends or (last and not only_ended):
                if rank < beams and not (full and spec.early_stopping == "first"):
                    done.append(candidate)
            elif len(opened) < beams:
                opened.append(candidate)
                parents.append(parent)
        done = sorted(done, key=lambda hypothesis: -hypothesis.score)[:beams]  # stable
        running = opened
        if not running or last or _cannot_improve(spec, running[0], done, t):
            break
        rows = step([hypothesis.tokens[-1] for hypothesis in running], parents)  # [k,V]
    return done or sorted(running, key=lambda hypothesis: -hypothesis.score)


def _best(
    rules: Rules, running: Sequence[Hypothesis], scores: np.ndarray, number: int
) -> list[tuple[int, int, float]]:
    """(parent, token, sum) of the best continuations, best first; log-probabilities [k,V]."""
    wide = np.float64 if rules.spec.early_stopping == "ended" else np.float32
    masked = [
        rules.constrained(row, hypothesis.tokens, hypothesis.place)
        + wide(hypothesis.log_probability)
        for row, hypothesis in zip(scores, running, strict=True)
    ]
    totals = np.concatenate(masked)  # [k*V]
    V = scores.shape[1]
    if number < len(totals):
        # Only totals at or above the last kept one are sorted: a vocabulary is large.
        floor = np.partition(totals, len(totals) - number)[len(totals) - number]
        places = np.flatnonzero(totals >= floor)
    else:
        places = np.arange(len(totals))
    order = places[np.argsort(-totals[places], kind="stable")][:number]
    return [(int(i) // V, int(i) % V, float(totals[i])) for i in order if totals[i] > -np.inf]


def _divided(spec: GenerationSpec, total: float, length: int) -> float:
    """A sum of log-probabilities, divided by length ** length_penalty."""
    if spec.early_stopping == "ended":
        return total / length**spec.length_penalty
    return float(np.float32(total) / np.float32(length**spec.length_penalty))


def _cannot_improve(
    spec: GenerationSpec, best: Hypothesis, done: Sequence[Hypothesis], t: int
) -> bool:
    """Whether the search stops after t tokens although sequences are open."""
    if len(done) < spec.beams:
        return False
    if spec.early_stopping == "first":
        return True
    longest = spec.early_stopping == "never" and spec.length_penalty > 0
    length = spec.max_new_tokens if longest else t
    return _divided(spec, best.log_probability, length) <= done[-1].score
