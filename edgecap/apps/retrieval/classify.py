"""Zero-shot classification: which of several labels fits an image best.

Labels are compared with the whole image, and with each object alone (grounding/views.py).

Letters: n views of an image, Q labels, E embedding width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.grounding.views import embedded_views
from edgecap.apps.texts import check_words
from edgecap.core.errors import InputError
from edgecap.runtime.batches import in_batches_past_errors
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.image_processing import ProcessedImage, process
from edgecap.runtime.mentions import InputBox
from edgecap.runtime.preprocess import Box, ImageLike, Letterbox


@dataclass(frozen=True)
class LabelScore:
    """A label and its cosine to the view of the image that it fits best.

    Cosines rank labels; they are not probabilities. The contrastive loss is a sigmoid per pair, so
    a softmax over labels was not trained, and the scale and bias of the loss are not exported:
    probabilities would depend on an arbitrary temperature.
    """

    label: str
    score: float
    boxes: tuple[
        Box, ...
    ] = ()  # of the objects that it fits, px of the image; empty: the whole image


class ZeroShotClassifier:
    """A set of labels, embedded once and compared with images."""

    def __init__(self, captioner: Captioner, labels: Sequence[str], whole: bool = False) -> None:
        """`whole`: compare with whole images only, which needs no caption.

        Raises InputError for fewer than two labels, duplicates, and labels that are empty, too long
        or without a known word.
        """
        if len(labels) < 2:
            raise InputError(
                "labels.number",
                f"two labels or more are needed, got {len(labels)}.",
                "Separate them with commas, or write one per line in a --labels-file.",
            )
        twice = [label for label, times in Counter(labels).items() if times > 1]
        if twice:
            raise InputError("labels.twice", f"the label {twice[0]!r} is given twice.")
        for label in labels:
            check_words(captioner, label)
        self._captioner, self.labels, self._whole = captioner, tuple(labels), whole
        self._texts = captioner.embed_texts(labels)  # [Q,E]

    def rank_many(self, images: Iterable[ImageLike]) -> Iterator[list[LabelScore] | InputError]:
        """`rank` of any number of images, in batches that fit in memory.

        An image that cannot be read is yielded as its error, in its place.
        """
        size = self._captioner.batch_size()
        return in_batches_past_errors(self._captioner.preprocess_images(images), size, self._ranked)

    def rank(self, images: Sequence[ImageLike]) -> list[list[LabelScore]]:
        """For each image all labels, best first; equal scores in the order given.

        Raises InputError for an image that cannot be read.
        """
        settings = self._captioner.manifest.image
        return self._ranked([process(image, settings) for image in images])

    def _ranked(self, images: Sequence[ProcessedImage]) -> list[list[LabelScore]]:
        views = embedded_views(self._captioner, [image.pixels[0] for image in images], self._whole)
        return [
            self._choices(vectors @ self._texts.T, [view.boxes for view in parts], image.placement)
            for (parts, vectors), image in zip(views, images, strict=True)
        ]

    def _choices(
        self, cosines: np.ndarray, boxes: Sequence[Sequence[InputBox]], placement: Letterbox
    ) -> list[LabelScore]:
        """All labels by their highest cosine over the views; cosines [n,Q]."""
        best = cosines.argmax(0)  # [Q]
        return [
            LabelScore(
                self.labels[q],
                float(cosines[best[q], q]),
                tuple(placement.to_image(box) for box in boxes[best[q]]),
            )
            for q in np.argsort(-cosines.max(0), kind="stable")
        ]
