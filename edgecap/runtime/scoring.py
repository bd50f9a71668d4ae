"""Log-probabilities of given tokens by teacher forcing, on any backend.

Letters: B sequences, V vocabulary, W tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgecap.bundle.interface import DECODE, EXTEND
from edgecap.runtime.forcing import feed
from edgecap.runtime.graphs import Graphs
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.state import State


def token_scores(
    graphs: Graphs, encoded: Mapping[str, np.ndarray], sequences: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """log p of every token but the first of each sequence, given its predecessors: f32 [W-1] each.

    `encoded` holds one image per sequence, as `Graphs.encode` returns them. Sequences may differ in
    length, and start with the prompt.
    """
    scores: list[list[float]] = [[] for _ in sequences]
    function = EXTEND if graphs.interface.has(EXTEND) else DECODE
    steps = feed(State(graphs, encoded, function), [ids[:-1] for ids in sequences])
    for place, step in enumerate(steps):
        log_probabilities = log_softmax(step.logits)  # [B,V]
        for b, ids in enumerate(sequences):
            if place + 1 < len(ids):
                scores[b].append(float(log_probabilities[b, ids[place + 1]]))
    return [np.array(row, np.float32) for row in scores]
