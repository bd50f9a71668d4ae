"""Teacher forcing: given tokens are fed, and what the model makes of them at each step is kept.

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
    """Feed every image of a batch its own tokens; per image logits [K,V], attention [K,P].

    Attention is [K,L,H,P] of a session that gives that (PerHeadAttention). K = len(tokens) + 1
    steps, the first after the prompt, but no more than a cache of `text_length` has rows for.
    """
    cache = Cache(session, code, text_length)
    lengths = [min(len(said) + 1, text_length - len(prompt) + 1) for said in tokens]
    fed = feed(cache, [[*said, prompt[-1]] for said in tokens])  # who has ended is not looked at
    steps = [cache.prompt(prompt), *islice(fed, max(lengths) - 1)]
    return [
        (
            np.stack([step.logits[b] for step in steps[:K]]),
            np.stack([step.attention[b] for step in steps[:K]]),
        )
        for b, K in enumerate(lengths)
    ]


def feed(cache: Cache, sequences: Sequence[Sequence[int]]) -> Iterator[Step]:
    """Feed every sequence of a batch its own tokens (teacher forcing); one Step per place.

    A sequence that has ended goes on with its last token; what comes out of it then is nobody's.
    """
    for place in range(max(map(len, sequences))):
        yield cache.step([ids[min(place, len(ids) - 1)] for ids in sequences])
