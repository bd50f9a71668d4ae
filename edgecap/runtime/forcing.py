"""Teacher forcing: given tokens are fed, and the outputs of every step are kept.

Letters as in session.py; K steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from edgecap.runtime.cache import Cache
from edgecap.runtime.session import ImageCode, Session, Step


def teacher_forced(
    session: Session,
    code: ImageCode,
    prompt: Sequence[int],
    tokens: Sequence[Sequence[int]],
    text_length: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Feed each image of a batch its own tokens; per image logits [K,V], attention [K,P].

    With a PerHeadAttention session, attention is [K,L,H,P]. There are K = len(tokens) + 1 steps,
    the first after the prompt, limited by the `text_length` rows of the cache.
    """
    cache = Cache(session, code, text_length)
    lengths = [min(len(ids) + 1, text_length - len(prompt) + 1) for ids in tokens]
    fed = feed(cache, [[*ids, prompt[-1]] for ids in tokens])  # outputs past the end are unused
    steps = [cache.prompt(prompt), *islice(fed, max(lengths) - 1)]
    return [
        (
            np.stack([step.logits[b] for step in steps[:K]]),
            np.stack([step.attention[b] for step in steps[:K]]),
        )
        for b, K in enumerate(lengths)
    ]


def feed(cache: Cache, sequences: Sequence[Sequence[int]]) -> Iterator[Step]:
    """Feed each sequence of a batch its own tokens (teacher forcing); one Step per position.

    A sequence that has ended repeats its last token; its outputs from then on are meaningless.
    """
    for place in range(max(map(len, sequences))):
        yield cache.step([ids[min(place, len(ids) - 1)] for ids in sequences])
