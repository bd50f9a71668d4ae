"""How likely a model finds given words: teacher forcing through `decode`, on any backend.

Letters as in session.py; W words (tokens) of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.runtime.cache import Cache
from edgecap.runtime.forcing import feed
from edgecap.runtime.session import ImageCode, Session


def token_scores(
    session: Session, code: ImageCode, text_length: int, sequences: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """log p of every token but the first of each sequence, given those before it: f32 [W-1] each.

    `code` holds one image per sequence; sequences of one call may differ in length, and begin
    with their prompt.
    """
    scores: list[list[float]] = [[] for _ in sequences]
    steps = feed(Cache(session, code, text_length), [ids[:-1] for ids in sequences])
    for place, step in enumerate(steps):
        said = log_softmax(step.logits)  # [B,V]
        for b, ids in enumerate(sequences):
            if place + 1 < len(ids):
                scores[b].append(float(said[b, ids[place + 1]]))
    return [np.array(row, np.float32) for row in scores]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Natural log of the softmax over the last axis of f32 [B,V]; BundleError for no numbers."""
    if not np.isfinite(logits).all():
        raise BundleError("bundle.not_finite", "the model's scores hold NaN or infinity.")
    shifted = logits - logits.max(-1, keepdims=True)  # [B,V]
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def pick_images(code: ImageCode, rows: Sequence[int]) -> ImageCode:
    """The code of images `rows` of a batch, in that order, repeats allowed."""
    chosen = list(rows)
    return ImageCode(code.k[:, chosen], code.v[:, chosen], code.embedding[chosen])
