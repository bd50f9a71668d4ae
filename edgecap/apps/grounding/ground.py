"""Phrase to box: "the red circle left of the dog" to the one circle that it refers to.

1. Candidates are the boxes of the image's grounded caption. If the name fits none of them, one more
   is added: the box that the model generates after the name, for the image without the others.
2. The name scores of candidates: p(name | its article, the image with all other candidates
   removed), so that an object does not compete with others. The article is given, because captions
   of one object say "a fox": the likelihood of "the" depends on grammar only. In languages without
   articles but with counters (一只狐狸), the better score with and without a counter is used.
3. If several candidates fit, the rest of the phrase decides: p(rest | the image with the other
   fitting candidates removed), so that "the red circle" is unique, as in the training data.

The end of the name is also determined by the model: of all readings of the phrase as a sentence
(see phrases.py), the one with the highest mean log-probability per token is used.

Letters: N candidates, S side of the model input in px.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.grounding.caption_scorer import CaptionScorer, Encoded
from edgecap.apps.grounding.hide import hide
from edgecap.apps.grounding.phrases import Reading, copula_of, readings
from edgecap.apps.texts import check_words
from edgecap.core.boxes import iou
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.preprocess import Box, ImageLike, preprocess

SAME_OBJECT_IOU = 0.5  # IoU from which two boxes are the same object
MAX_BEHIND_BEST = (
    3.0  # nats below the best name score; worse candidates (a twentieth as likely) are dropped
)
MIN_GAIN = 0.7  # nats; a candidate must make its name at least twice as likely
# Nats by which log_likelihood_ratio must exceed the surprise of the name's least likely token: in
# some languages definite names of single objects are unlikely, and names of absent objects have a
# low ratio in all (LOG.md).
MIN_SUPPORT = 2.0


@dataclass(frozen=True)
class Referent:
    """An object that the phrase may refer to."""

    box: Box  # x0, y0, x1, y1 in px of the given image, upright by EXIF
    probability: float  # 0-1, among the referents of this phrase


@dataclass(frozen=True)
class Grounding:
    """The referents of a phrase in an image."""

    phrase: str
    name: str  # the part that names the object
    sentence: str  # the sentence that was scored
    referents: tuple[Referent, ...]  # best first
    log_likelihood_ratio: float  # nats: log p of the name with the object, less that without it
    min_token_logprob: float  # nats: log p of the name's least likely token, with the object alone

    @property
    def box(self) -> Box:
        return self.referents[0].box

    @property
    def is_supported(self) -> bool:
        """Whether the image supports the name; otherwise the box is a guess.

        A similar-looking object may also support it.
        """
        return self.log_likelihood_ratio + self.min_token_logprob >= MIN_SUPPORT


def ground(captioner: Captioner, image: ImageLike, phrase: str, lang: str = "en") -> Grounding:
    """The boxes that a phrase, or a statement about one object, refers to.

    Raises InputError for an unreadable image, a language that the model does not have, and a phrase
    that is empty, too long or without a known word.
    """
    scorer = CaptionScorer(captioner, lang)
    options = readings(phrase, lang)
    check_words(captioner, phrase)
    scorer.tokens(max((reading.sentence for reading in options), key=len))
    settings = captioner.manifest.image
    model_input, placement = preprocess(image, settings)  # [S,S,3]
    reading = _likeliest(scorer, [model_input, np.full_like(model_input, settings.fill)], options)
    boxes = _distinct(scorer.named_boxes(model_input))
    fits, without, min_logprobs = _names(scorer, model_input, boxes, reading)  # [N], one, [N]
    if not boxes or fits.max() < without + MIN_GAIN:  # the caption missed it
        boxes.append(scorer.box_of(hide(model_input, boxes, []), scorer.tokens(reading.name)))
        fits, without, min_logprobs = _names(scorer, model_input, boxes, reading)
    bar = min(
        max(fits.max() - MAX_BEHIND_BEST, without + MIN_GAIN), fits.max()
    )  # the best one is always kept
    rivals = np.flatnonzero(fits >= bar)
    scores = fits[rivals]
    if reading.rest and len(rivals) > 1:
        scores = scores + _description_scores(
            scorer, model_input, [boxes[i] for i in rivals], reading
        )
    shares = np.exp(log_softmax(scores))
    order = np.argsort(-shares, kind="stable")
    best = rivals[order[0]]
    return Grounding(
        phrase=phrase,
        name=reading.name,
        sentence=reading.sentence if reading.rest else reading.name,
        referents=tuple(
            Referent(placement.to_image(boxes[rivals[i]]), float(shares[i])) for i in order
        ),
        log_likelihood_ratio=float(fits[best] - without),
        min_token_logprob=float(min_logprobs[best]),
    )


def _likeliest(
    scorer: CaptionScorer, model_inputs: Sequence[np.ndarray], options: Sequence[Reading]
) -> Reading:
    """The reading whose sentence has the highest mean log-probability.

    For each token, the higher log-probability over the given images (the image, a grey one) is
    used. With the grey image alone, "el cuadrado rojo" was split after its noun: "El cuadrado está
    rojo."
    """
    encoded = scorer.encode(np.stack(model_inputs))
    tokens = [scorer.tokens(reading.sentence) for reading in options]
    pairs = [(image, ids) for ids in tokens for image in range(len(model_inputs))]
    rows = _in_groups(scorer.likelihoods(encoded, pairs), len(model_inputs))
    means = [np.max(of_one, 0).mean() for of_one in rows]
    return options[int(np.argmax(means))]


def _in_groups(rows: Sequence[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    return (rows[i : i + size] for i in range(0, len(rows), size))


def _distinct(boxes: Sequence[Box]) -> list[Box]:
    """The boxes in order, without duplicates."""
    kept: list[Box] = []
    for box in boxes:
        if all(iou(box, other) < SAME_OBJECT_IOU for other in kept):
            kept.append(box)
    return kept


def _names(
    scorer: CaptionScorer, model_input: np.ndarray, boxes: Sequence[Box], reading: Reading
) -> tuple[np.ndarray, float, np.ndarray]:
    """(log p(name | article) with each candidate alone, f32 [N]; the same with none of them; log p
    of the name's least likely token with each candidate alone, f32 [N]).
    """
    name = scorer.tokens(reading.name)
    start = _shared(scorer.tokens(reading.article), name) if reading.article else 0
    alone = [hide(model_input, [b for b in boxes if b is not box], [box]) for box in boxes]
    encoded = scorer.encode(np.stack([*alone, hide(model_input, boxes, [])]))  # N + 1
    rows = scorer.likelihoods(encoded, [(i, name) for i in range(len(boxes) + 1)])
    found = _sums_and_minima([row[start:] for row in rows])  # [2,N+1]
    one = copula_of(scorer.lang).one
    if one and not reading.name.startswith(one):
        found = np.maximum(found, _counted(scorer, encoded, one, reading.name))
    sums, least = found
    return sums[:-1], float(sums[-1]), least[:-1]


def _sums_and_minima(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The sum and the minimum of n rows of log-probabilities, f32 [2,n]."""
    return np.array([[row.sum(), row.min(initial=0.0)] for row in rows], np.float32).T


def _counted(scorer: CaptionScorer, encoded: Encoded, one: str, name: str) -> np.ndarray:
    """`_sums_and_minima` of the name after the number one and the model's preferred counter."""
    leads = [one + counter for counter in scorer.next_token(encoded, one)]
    pairs = [(i, scorer.tokens(lead + name)) for i, lead in enumerate(leads)]
    starts = [_shared(scorer.tokens(lead), pairs[i][1]) for i, lead in enumerate(leads)]
    rows = scorer.likelihoods(encoded, pairs)
    return _sums_and_minima([row[at:] for row, at in zip(rows, starts, strict=True)])


def _description_scores(
    scorer: CaptionScorer, model_input: np.ndarray, rivals: Sequence[Box], reading: Reading
) -> np.ndarray:
    """log p of the rest of the sentence for each rival, with the others removed: f32 [N]."""
    sentence = scorer.tokens(reading.sentence)
    start = _shared(scorer.tokens(reading.name + reading.joint), sentence)
    images = [hide(model_input, [b for b in rivals if b is not box], [box]) for box in rivals]
    encoded = scorer.encode(np.stack(images))
    rows = scorer.likelihoods(encoded, [(i, sentence) for i in range(len(rivals))])
    return np.array([row[start:].sum() for row in rows], np.float32)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the common prefix of two sequences."""
    differ = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    return differ[0] if differ else min(len(a), len(b))
