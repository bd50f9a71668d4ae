"""Log-probabilities of given tokens: teacher forcing through `decode`, on any backend.

Letters as in session.py; W tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.runtime.cache import Cache
from edgecap.runtime.forcing import feed
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.session import ImageCode, Session


def token_scores(
    session: Session, code: ImageCode, text_length: int, sequences: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """log p of every token but the first of each sequence, given its predecessors: f32 [W-1] each.

    `code` holds one image per sequence. Sequences may differ in length, and start with the prompt.
    """
    scores: list[list[float]] = [[] for _ in sequences]
    steps = feed(Cache(session, code, text_length), [ids[:-1] for ids in sequences])
    for place, step in enumerate(steps):
        log_probabilities = log_softmax(step.logits)  # [B,V]
        for b, ids in enumerate(sequences):
            if place + 1 < len(ids):
                scores[b].append(float(log_probabilities[b, ids[place + 1]]))
    return [np.array(row, np.float32) for row in scores]


def pick_images(code: ImageCode, rows: Sequence[int]) -> ImageCode:
    """The code of the images `rows` of a batch, in that order; repeats are allowed."""
    chosen = list(rows)
    return ImageCode(code.k[:, chosen], code.v[:, chosen], code.embedding[chosen])
