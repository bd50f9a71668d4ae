"""Teacher forcing: given tokens are fed, and the outputs of every step are kept.

Letters: B sequences, K steps, V vocabulary, P image rows, L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from edgecap.bundle.interface import DECODE
from edgecap.core.errors import UnsupportedError
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.state import State, Step


def teacher_forced(
    graphs: Graphs,
    encoded: Mapping[str, np.ndarray],
    prompt: Sequence[int],
    tokens: Sequence[Sequence[int]],
    function: str = DECODE,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Feed each image of a batch its own tokens; per image logits [K,V], attention [K,P].

    With the function decode_attention, attention is [K,L,H,P]. There are K = len(tokens) + 1
    steps, the first after the prompt, limited by the T text rows of the state.

    Raises UnsupportedError for a model that gives no attention.
    """
    if graphs.interface.attention is None:
        raise UnsupportedError("attention.none", "this model gives no attention.")
    T = graphs.interface.dims["T"]
    lengths = [min(len(ids) + 1, T - len(prompt) + 1) for ids in tokens]
    state = State(graphs, encoded, function)
    fed = feed(state, [[*ids, prompt[-1]] for ids in tokens])  # outputs past the end are unused
    steps = [state.prompt(prompt), *islice(fed, max(lengths) - 1)]
    return [
        (
            np.stack([step.logits[b] for step in steps[:K]]),
            np.stack([step.attention[b] for step in steps[:K] if step.attention is not None]),
        )
        for b, K in enumerate(lengths)
    ]


def feed(state: State, sequences: Sequence[Sequence[int]]) -> Iterator[Step]:
    """Feed each sequence of a batch its own tokens (teacher forcing); one Step per position.

    A sequence that has ended repeats its last token; its outputs from then on are meaningless. A
    state of the function extend takes `width` tokens a call; its steps have logits only.
    """
    longest, width = max(map(len, sequences)), state.width
    for start in range(0, longest, width):
        places = range(start, min(start + width, longest))
        step = state.extend([[ids[min(p, len(ids) - 1)] for p in places] for ids in sequences])
        if width == 1:
            yield step
        else:
            yield from (Step(step.logits[:, i], None) for i in range(len(places)))
