"""Which of some statements is true of an image: by how much the image speaks for each.

A sentence may be likely because it is common. So each is scored by log p(sentence | image) less
log p(sentence | a grey image): what the image adds, whatever the wording. That compares, and
says nothing of one sentence alone: a dog that is not there is left or right of a cat in any
image. So each also has log p of its least likely token, "dog".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.grounding.phrases import as_sentence
from edgecap.apps.grounding.speech import CaptionScorer
from edgecap.apps.texts import check_words
from edgecap.core.errors import InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.preprocess import ImageLike, preprocess

# Nats, log p of a statement's least likely token. What is true and worded as captions word it has
# more in 19 of 20 statements; what names absent things, or is no caption, has less (LOG.md).
PLAUSIBLE = -5.0


@dataclass(frozen=True)
class StatementScore:
    """A statement and how far the image speaks for it."""

    statement: str
    log_likelihood_ratio: float  # nats
    share: float  # 0-1, among the statements given
    least: float  # nats: log p of its least likely token, with the image

    @property
    def above_threshold(self) -> bool:
        """Whether the model might say it of the image: else it is untrue, or no caption."""
        return self.least >= PLAUSIBLE


def rank_statements(
    captioner: Captioner, image: ImageLike, statements: Sequence[str], lang: str = "en"
) -> list[StatementScore]:
    """The statements, the one that the image speaks for most first.

    Give the alternatives: "The dog is left of the cat.", "The dog is right of the cat.". One always
    comes first; `above_threshold` says of each by itself whether the model might have said it.
    Raises InputError for fewer than two statements or one given twice, and as `ground` does.
    """
    speech = CaptionScorer(captioner, lang)
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
    tokens = [speech.tokens(sentence) for sentence in sentences]
    settings = captioner.manifest.preprocessing
    model_input, _ = preprocess(image, settings)  # [S,S,3]
    code = speech.see(np.stack([model_input, np.full_like(model_input, settings.fill)]))
    asked = [(which, ids) for which in (0, 1) for ids in tokens]
    rows = speech.likelihoods(code, asked)
    sums = np.array([row.sum() for row in rows], np.float32)
    log_likelihood_ratio = sums[: len(tokens)] - sums[len(tokens) :]  # one per statement
    shares = np.exp(log_softmax(log_likelihood_ratio))
    return [
        StatementScore(
            statements[i], float(log_likelihood_ratio[i]), float(shares[i]), float(rows[i].min())
        )
        for i in np.argsort(-log_likelihood_ratio, kind="stable")
    ]
