"""From a cache that holds an image to tokens: greedy and beam search. NumPy only.

Knows nothing about text: callers turn tokens into words. Letters as in session.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.runtime.cache import Cache
from edgecap.runtime.grammar import LocationRule
from edgecap.runtime.session import ImageCode, Step


class Chosen(NamedTuple):
    """One generated token, and what the step that chose it looked at."""

    token: int
    score: float  # natural log of the probability the model gave it
    attention: np.ndarray  # f32 [P], mean over layers and heads


@dataclass
class Generated:
    """What was generated for one image, `<eos>` not included."""

    chosen: list[Chosen] = field(default_factory=list)
    complete: bool = False  # ended by itself, not by the limit
    end_score: float = 0.0  # log-probability of <eos>

    @property
    def tokens(self) -> list[int]:
        return [chosen.token for chosen in self.chosen]

    @property
    def score(self) -> float:
        """Mean log-probability of a token, the end included: the measure beams are ranked by."""
        count = len(self.chosen) + self.complete
        return (sum(chosen.score for chosen in self.chosen) + self.end_score) / max(count, 1)


@dataclass(frozen=True)
class Limits:
    """When to stop, and what may be said."""

    eos: int
    length: int  # tokens at most, <eos> included
    rule: LocationRule | None  # None: anything goes, malformed boxes too


def walk(cache: Cache, prompt: Sequence[int], limits: Limits) -> Iterator[list[tuple[int, Chosen]]]:
    """Greedy decoding of all sequences of a cache, step by step.

    Yields, per step, (index of the sequence, its choice) for those still running; a sequence whose
    choice is `<eos>` leaves the batch.
    """
    running = list(range(len(cache)))
    said: list[list[int]] = [[] for _ in running]
    step = _feed_prompt(cache, prompt)
    for count in range(limits.length):
        scores = _log_probabilities(step.logits)  # [B,V]
        choices = []
        for b, sequence in enumerate(running):
            # Of the logits: two of them may round to one log-probability.
            token = int(_ruled(step.logits[b], said[sequence], limits, count).argmax())
            said[sequence].append(token)
            choices.append((sequence, Chosen(token, float(scores[b, token]), step.attention[b])))
        yield choices
        stay = [b for b, (_, choice) in enumerate(choices) if choice.token != limits.eos]
        if not stay or count + 1 == limits.length:
            return
        if len(stay) < len(running):
            cache.keep(stay)
            running = [running[b] for b in stay]
        step = cache.step([said[sequence][-1] for sequence in running])


def greedy(cache: Cache, prompt: Sequence[int], limits: Limits) -> list[Generated]:
    """The most probable next token each time; one result per sequence of the cache."""
    results = [Generated() for _ in range(len(cache))]
    for choices in walk(cache, prompt, limits):
        for sequence, choice in choices:
            if choice.token == limits.eos:
                results[sequence].complete = True
                results[sequence].end_score = choice.score
            else:
                results[sequence].chosen.append(choice)
    return results


def beam_search(cache: Cache, prompt: Sequence[int], limits: Limits) -> Generated:
    """The best of several sequences by mean log-probability per token.

    `cache` holds the same image once per beam (see `repeat`). Ends when there are as many finished
    sequences as beams and none still running has a better mean. Ties go to the earlier beam and the
    lower id.
    """
    beams = len(cache)
    step = _feed_prompt(cache, prompt)
    live = [Generated()]  # the prompt left every row alike, so one stands for all
    finished: list[Generated] = []
    for count in range(limits.length):
        scores = _log_probabilities(step.logits[: len(live)])  # [live,V]
        continued: list[tuple[int, Generated]] = []
        for rank, (b, token) in enumerate(_best(live, scores, limits, count, 2 * beams)):
            score = float(scores[b, token])
            if token != limits.eos:
                choice = Chosen(token, score, step.attention[b])
                continued.append((b, Generated([*live[b].chosen, choice])))
            elif rank < beams:
                finished.append(Generated(live[b].chosen, True, score))
            if len(continued) == beams:
                break
        live = [sequence for _, sequence in continued]
        finished = sorted(finished, key=lambda done: -done.score)[:beams]
        if not live or (
            len(finished) == beams
            and finished[-1].score >= max(sequence.score for sequence in live)
        ):
            break
        if count + 1 < limits.length:
            # Where there are fewer continuations than beams, idle rows follow the first.
            idle = beams - len(live)
            parents = [b for b, _ in continued]
            cache.reorder(parents + [parents[0]] * idle)
            tokens = [sequence.chosen[-1].token for sequence in live]
            step = cache.step(tokens + [tokens[0]] * idle)
    return max(finished or live, key=lambda sequence: sequence.score)


def _best(
    live: list[Generated], scores: np.ndarray, limits: Limits, count: int, number: int
) -> list[tuple[int, int]]:
    """The (beam, token) pairs of highest total log-probability, best first; scores [live,V]."""
    totals = np.array([sum(c.score for c in sequence.chosen) for sequence in live])  # [live]
    ruled = np.stack(
        [_ruled(row, beam.tokens, limits, count) for row, beam in zip(scores, live, strict=True)]
    )  # [live,V]
    candidates = (totals[:, None] + ruled).ravel()  # [live*V]
    order = np.argsort(-candidates, kind="stable")[:number]
    V = scores.shape[1]
    return [(int(i) // V, int(i) % V) for i in order if np.isfinite(candidates[i])]


def _feed_prompt(cache: Cache, prompt: Sequence[int]) -> Step:
    for token in prompt:
        step = cache.step([token] * len(cache))
    return step


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Natural log of the softmax, f32 [B,V]; BundleError where the model gave no numbers."""
    if not np.isfinite(logits).all():
        raise BundleError("bundle.not_finite", "the model's scores hold NaN or infinity.")
    shifted = logits - logits.max(-1, keepdims=True)  # [B,V]
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _ruled(scores: np.ndarray, tokens: list[int], limits: Limits, count: int) -> np.ndarray:
    """Scores [V] with -inf for what the rule forbids."""
    if limits.rule is None:
        return scores
    return np.where(limits.rule.allowed(tokens, limits.length - count), scores, -np.inf)


def repeat(code: ImageCode, beams: int) -> ImageCode:
    """The code of one image, once per beam: k, v [L,1,H,P,Dh] to [L,beams,H,P,Dh]."""
    return ImageCode(
        code.k.repeat(beams, 1), code.v.repeat(beams, 1), code.embedding.repeat(beams, 0)
    )
