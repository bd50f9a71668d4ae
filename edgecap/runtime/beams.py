"""Beam search equal to transformers' `generate(num_beams=K)` (5.23), over one callable.

The algorithm, for ports. K beams; E end ids; P, the length penalty; N, the most tokens generated.
`running`: up to K open sequences, each with the sum of its log-probabilities, best first.
`done`: up to K finished sequences, each with its score, best first. Start with one open sequence
without tokens, sum 0, and no finished one. Then for t = 1, 2, … N:

1. Scores of every open sequence: log_softmax of its logits, then the rules of generation
   (edgecap.runtime.logits), plus its sum. Candidates are the M = max(2, 1 + E) * K best of all
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

Letters: K beams, k open sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.runtime.logits import apply_rules, log_softmax

# (tokens, parents) -> logits f32 [k,V] after one more token of every open sequence. `parents` holds
# the index of the sequence of the previous call that each continues: state is reordered first.
Step: TypeAlias = "Callable[[Sequence[int], Sequence[int]], np.ndarray]"


@dataclass(frozen=True)
class Hypothesis:
    """A sequence of generated ids, without the prompt."""

    tokens: tuple[int, ...]  # the end id included, where it has one
    log_probability: float  # sum over tokens, after the rules
    score: float  # log_probability / len(tokens) ** length_penalty


def beam_search(spec: GenerationSpec, logits: np.ndarray, step: Step) -> list[Hypothesis]:
    """Finished sequences, best first, at most `spec.beams` of them.

    Args:
        spec: beams, penalties and rules.
        logits: f32 [V] after the last id of `spec.begin`.
        step: called with the tokens of the open sequences, and the parents of each.
    """
    beams, penalty = spec.beams, spec.length_penalty
    ends = frozenset(spec.eos)
    considered = max(2, 1 + len(ends)) * beams
    running = [Hypothesis((), 0.0, 0.0)]
    done: list[Hypothesis] = []
    rows = logits[None]  # [k,V]
    for t in range(1, spec.max_new_tokens + 1):
        last = t == spec.max_new_tokens
        parents: list[int] = []
        opened: list[Hypothesis] = []
        full = len(done) == beams
        for rank, (parent, token, total) in enumerate(_best(spec, running, rows, considered)):
            score = float(np.float32(total) / np.float32(t**penalty))
            candidate = Hypothesis((*running[parent].tokens, token), total, score)
            if token in ends or last:
                if rank < beams and not (full and spec.early_stopping == "first"):
                    done.append(candidate)
            elif len(opened) < beams:
                opened.append(candidate)
                parents.append(parent)
        done = sorted(done, key=lambda hypothesis: -hypothesis.score)[:beams]  # stable
        running = opened
        if not running or _cannot_improve(spec, running[0], done, t):
            break
        rows = step([hypothesis.tokens[-1] for hypothesis in running], parents)  # [k,V]
    return done


def _best(
    spec: GenerationSpec, running: Sequence[Hypothesis], logits: np.ndarray, number: int
) -> list[tuple[int, int, float]]:
    """(parent, token, sum) of the best continuations, best first; logits [k,V]."""
    scores = log_softmax(logits)  # [k,V]
    masked = [
        apply_rules(spec, row, hypothesis.tokens) + np.float32(hypothesis.log_probability)
        for row, hypothesis in zip(scores, running, strict=True)
    ]
    totals = np.concatenate(masked)  # [k*V]
    V = logits.shape[1]
    if number < len(totals):
        # Only totals at or above the last kept one are sorted: a vocabulary is large.
        floor = np.partition(totals, len(totals) - number)[len(totals) - number]
        places = np.flatnonzero(totals >= floor)
    else:
        places = np.arange(len(totals))
    order = places[np.argsort(-totals[places], kind="stable")][:number]
    return [(int(i) // V, int(i) % V, float(totals[i])) for i in order if totals[i] > -np.inf]


def _cannot_improve(
    spec: GenerationSpec, best: Hypothesis, done: Sequence[Hypothesis], t: int
) -> bool:
    """Whether the search stops after t tokens although sequences are open."""
    if len(done) < spec.beams:
        return False
    if spec.early_stopping == "first":
        return True
    penalty = spec.length_penalty
    longest = spec.early_stopping == "never" and penalty > 0
    length = spec.max_new_tokens if longest else t
    reachable = np.float32(best.log_probability) / np.float32(length**penalty)
    return float(reachable) <= done[-1].score
