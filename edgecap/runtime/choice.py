"""Zero-shot choice: which of some texts fits a picture best.

N pictures, Q texts, E embedding width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.core.errors import InputError
from edgecap.runtime.batches import in_batches_past_errors
from edgecap.runtime.captioner import Captioner, Placed
from edgecap.runtime.preprocess import Picture
from edgecap.runtime.texts import check_words


@dataclass(frozen=True)
class Choice:
    """A label and its cosine to the picture.

    Cosines rank and are no probabilities. The contrastive loss is a sigmoid per pair, so no softmax
    over labels was ever trained, and its scale and bias stay behind with the training: shares would
    be made up from a temperature that nobody measured.
    """

    label: str
    score: float


class LabelChooser:
    """Some labels, embedded once, to be held against pictures."""

    def __init__(self, captioner: Captioner, labels: Sequence[str]) -> None:
        """Raises InputError for fewer than two labels, one given twice, and one that is empty, too
        long or without a known word.
        """
        if len(labels) < 2:
            raise InputError("labels.number", f"two labels or more are needed, got {len(labels)}.")
        twice = [label for label, times in Counter(labels).items() if times > 1]
        if twice:
            raise InputError("labels.twice", f"the label {twice[0]!r} is given twice.")
        for label in labels:
            check_words(captioner, label)
        self._captioner, self.labels = captioner, tuple(labels)
        self._texts = captioner.embed_texts(labels)  # [Q,E]

    def rank_many(self, images: Iterable[Picture]) -> Iterator[list[Choice] | InputError]:
        """`rank` of any number of pictures, in batches that fit in memory.

        A picture that cannot be read is yielded as its error, in its place.
        """

        def work(placed: Sequence[Placed]) -> list[list[Choice]]:
            return self.rank([canvas for canvas, _ in placed])

        size = self._captioner.batch_size()
        return in_batches_past_errors(self._captioner.placed(images), size, work)

    def rank(self, images: Sequence[Picture]) -> list[list[Choice]]:
        """For each picture all labels, best first; equal scores in the order given.

        Raises InputError for a picture that cannot be read.
        """
        scores = self._captioner.embed_images(images) @ self._texts.T  # [N,Q]
        orders = np.argsort(-scores, axis=1, kind="stable")  # [N,Q]
        return [
            [Choice(self.labels[q], float(row[q])) for q in order]
            for row, order in zip(scores, orders, strict=True)
        ]
