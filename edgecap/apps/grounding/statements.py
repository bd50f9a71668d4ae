"""Ranks statements about an image by how much the image supports each.

A sentence may be likely because it is common. So its score is log p(sentence | image) less
log p(sentence | a grey image), which is independent of the wording. The score only compares
statements: if there is no dog, "the dog is left of the cat" still has one. So each statement also
has the log p of its least likely token, here "dog".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.grounding.caption_scorer import CaptionScorer
from edgecap.apps.grounding.phrases import as_sentence
from edgecap.apps.texts import check_words
from edgecap.core.errors import InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.preprocess import ImageLike, preprocess

# Nats, log p of a statement's least likely token. 19 of 20 true statements worded like captions
# are above it; those that name absent objects or are unlike captions are below (LOG.md).
PLAUSIBLE = -5.0


@dataclass(frozen=True)
class StatementScore:
    """A statement and its support by the image."""

    statement: str
    log_likelihood_ratio: float  # nats
    share: float  # 0-1, among the statements given
    min_token_logprob: float  # nats: log p of its least likely token, with the image

    @property
    def above_threshold(self) -> bool:
        """Whether the statement is plausible; otherwise it is untrue or unlike a caption."""
        return self.min_token_logprob >= PLAUSIBLE


def rank_statements(
    captioner: Captioner, image: ImageLike, statements: Sequence[str], lang: str = "en"
) -> list[StatementScore]:
    """The statements, best supported first.

    Pass alternatives: "The dog is left of the cat.", "The dog is right of the cat.". The ranking is
    relative; `above_threshold` is a criterion for each statement alone. Raises InputError for fewer
    than two statements or duplicates, and as `ground`.
    """
    scorer = CaptionScorer(captioner, lang)
    sentences = [as_sentence(statement, lang) for statement in statements]
    different = len(set(sentences))
    if different < 2 or different < len(sentences):
        raise InputError(
            "statements.number",
            f"two or more different statements are needed, got {len(sentences)}, {different} "
            "different.",
        )
    for statement in statements:
        check_words(captioner, statement)
    tokens = [scorer.tokens(sentence) for sentence in sentences]
    settings = captioner.manifest.image
    model_input, _ = preprocess(image, settings)  # [S,S,3]
    encoded = scorer.encode(np.stack([model_input, np.full_like(model_input, settings.fill)]))
    pairs = [(which, ids) for which in (0, 1) for ids in tokens]
    rows = scorer.likelihoods(encoded, pairs)
    sums = np.array([row.sum() for row in rows], np.float32)
    log_likelihood_ratio = sums[: len(tokens)] - sums[len(tokens) :]  # one per statement
    shares = np.exp(log_softmax(log_likelihood_ratio))
    return [
        StatementScore(
            statements[i], float(log_likelihood_ratio[i]), float(shares[i]), float(rows[i].min())
        )
        for i in np.argsort(-log_likelihood_ratio, kind="stable")
    ]
