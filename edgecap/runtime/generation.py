"""Token generation for schema 2 bundles: greedy, sampling, or beam search.

Phases: the prompt is fed token by token, then tokens are generated under the rules of the model's
GenerationSpec until every sequence has ended.

Letters: B sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.runtime.beams import beam_search
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.logits import apply_rules, log_softmax
from edgecap.runtime.state import State

# (scores f32 [V] under the rules, sequence, tokens generated so far) -> token
Choose = Callable[[np.ndarray, int, int], int]


@dataclass(frozen=True)
class Generated:
    """One sequence, without the prompt and without its end token."""

    tokens: tuple[int, ...]
    scores: tuple[float, ...]  # log-probability of each token; beams: the mean for all
    complete: bool  # False if the length limit cut it

    @property
    def score(self) -> float:
        """Mean log-probability of the tokens; 0 if there are none."""
        return float(np.mean(self.scores)) if self.scores else 0.0


def most_probable(scores: np.ndarray, sequence: int, count: int) -> int:
    """Greedy decoding: the best token; on ties, the lower id."""
    return int(scores.argmax())


def steps(
    graphs: Graphs,
    encoded: Mapping[str, np.ndarray],
    spec: GenerationSpec,
    choose: Choose = most_probable,
) -> Iterator[list[tuple[int, int, float]]]:
    """Per step, (sequence, token, log-probability) of every open sequence, end tokens included.

    Sequences that have ended leave the batch.
    """
    state = State(graphs, encoded)
    for token in spec.begin:
        logits = state.feed([token] * state.size)  # [B,V]
    open_ = list(range(state.size))
    generated: list[list[int]] = [[] for _ in open_]
    for count in range(spec.max_new_tokens):
        chosen = []
        for row, sequence in enumerate(open_):
            scores = apply_rules(spec, logits[row], generated[sequence])  # [V]
            token = choose(scores, sequence, count)
            log_probability = float(log_softmax(logits[row])[token])
            generated[sequence].append(token)
            chosen.append((sequence, token, log_probability))
        yield chosen
        kept = [row for row, (_, token, _) in enumerate(chosen) if token not in spec.eos]
        if not kept or count == spec.max_new_tokens - 1:
            return
        state.select(kept)
        open_ = [open_[row] for row in kept]
        logits = state.feed([generated[sequence][-1] for sequence in open_])  # [b,V]


def generate(
    graphs: Graphs,
    encoded: Mapping[str, np.ndarray],
    spec: GenerationSpec,
    choose: Choose = most_probable,
) -> list[Generated]:
    """One sequence per encoded image; by beam search if the spec has several beams.

    Args:
        encoded: the outputs of `encode` for B images.
        spec: prompt, rules and limits.
        choose: selects the next token; not used by beam search.
    """
    if spec.beams > 1:
        B = len(next(iter(encoded.values())))
        return [
            _by_beams(graphs, {k: v[b : b + 1] for k, v in encoded.items()}, spec) for b in range(B)
        ]
    tokens: dict[int, list[int]] = {}
    scores: dict[int, list[float]] = {}
    ended: set[int] = set()
    for chosen in steps(graphs, encoded, spec, choose):
        for sequence, token, score in chosen:
            scores.setdefault(sequence, []).append(score)
            if token in spec.eos:
                ended.add(sequence)
                tokens.setdefault(sequence, [])
            else:
                tokens.setdefault(sequence, []).append(token)
    return [
        Generated(tuple(tokens[i]), tuple(scores[i][: len(tokens[i])]), i in ended)
        for i in sorted(tokens)
    ]


def _by_beams(graphs: Graphs, encoded: Mapping[str, np.ndarray], spec: GenerationSpec) -> Generated:
    state = State(graphs, encoded)
    for token in spec.begin:
        logits = state.feed([token])  # [1,V]

    def step(tokens: Sequence[int], parents: Sequence[int]) -> np.ndarray:
        state.select(parents)
        return state.feed(tokens)  # [k,V]

    best = beam_search(spec, logits[0], step)[0]
    ends = bool(best.tokens) and best.tokens[-1] in spec.eos
    tokens = best.tokens[:-1] if ends else best.tokens
    mean = best.log_probability / max(len(best.tokens), 1)
    return Generated(tokens, (mean,) * len(tokens), ends)


def limited(
    spec: GenerationSpec, max_tokens: int | None = None, beams: int | None = None
) -> GenerationSpec:
    """The same spec with a lower token limit, or another number of beams."""
    if max_tokens is not None:
        spec = replace(
            spec,
            max_new_tokens=min(max_tokens, spec.max_new_tokens),
            min_new_tokens=min(spec.min_new_tokens, max_tokens),
        )
    return spec if beams is None else replace(spec, beams=beams)
