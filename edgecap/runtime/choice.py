"""Zero-shot choice: which of some texts fits a picture best.

N pictures, Q texts, E embedding width, S canvas side in px.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.core.errors import InputError
from edgecap.runtime.batches import in_batches
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.preprocess import Picture, prepare
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

        def work(given: Sequence[np.ndarray | InputError]) -> list[list[Choice] | InputError]:
            read = [one for one in given if not isinstance(one, InputError)]
            ranked = iter(self.rank(read))
            return [one if isinstance(one, InputError) else next(ranked) for one in given]

        return in_batches(self._canvases(images), self._captioner.batch_size(), work)

    def _canvases(self, images: Iterable[Picture]) -> Iterator[np.ndarray | InputError]:
        """Canvases uint8 [S,S,3]."""
        for picture in images:
            try:
                yield prepare(picture, self._captioner.manifest.preprocessing)[0]
            except InputError as error:
                yield error

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
