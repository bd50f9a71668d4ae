"""Phrase to box: "the red circle left of the dog" to the one circle that is meant.

1. Candidates are the boxes of the image's grounded caption. Where none of them bears the name,
   one more: the box that the model writes after the name, of the image without those.
2. Which of them the name fits: p(name | its article, the image with all other candidates taken
   out). Alone in its image, a thing is neither outshone by others nor one of two. The article is
   given: a caption of one thing says "a fox", so how likely "the" is tells of the grammar only.
   Where a language has no articles and counts (一只狐狸), the counter is given, or none.
3. Where several fit alike, what is said of the thing decides: p(rest | the image with the other
   fitting ones taken out), so that "the red circle" is unique in it, as in every sentence that the
   model was taught.

Where the name ends is asked of the model too: of all ways to make a sentence of the phrase (see
phrases.py) the likeliest per token is taken.

Letters: N candidates, S model_input side in px.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgecap.apps.grounding.hide import hide
from edgecap.apps.grounding.phrases import Reading, copula_of, readings
from edgecap.apps.grounding.speech import CaptionScorer
from edgecap.apps.texts import check_words
from edgecap.core.boxes import iou
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.logits import log_softmax
from edgecap.runtime.mentions import InputBox
from edgecap.runtime.preprocess import Box, ImageLike, preprocess
from edgecap.runtime.session import ImageCode

SAME = 0.5  # IoU from which two boxes are of one thing
FITS = 3.0  # nats below the best name score: a twentieth as likely, and no rival any more
SPEAKS = 0.7  # nats: a thing that makes its name less than twice as likely is not what is meant
# Nats by which the log_likelihood_ratio for a name outweighs its oddest token: in some languages
# definite names of lone things are odd, and for names of what is not there little speaks in any
# (LOG.md).
OUTWEIGHS = 2.0


@dataclass(frozen=True)
class Referent:
    """A thing that the phrase may mean."""

    box: Box  # x0, y0, x1, y1 in px of the given image, upright as EXIF says
    probability: float  # 0-1, among the referents of this phrase


@dataclass(frozen=True)
class Grounding:
    """What a phrase means in an image."""

    phrase: str
    name: str  # the part that names the thing
    sentence: str  # what the model was asked
    referents: tuple[Referent, ...]  # the best first
    log_likelihood_ratio: float  # nats: how much likelier the name is with the thing than without
    least: float  # nats: log p of the name's least likely token, with the thing alone

    @property
    def box(self) -> Box:
        return self.referents[0].box

    @property
    def seen(self) -> bool:
        """Whether the image speaks for the name more than its words are odd; else box is a guess.

        It may speak for a thing that looks alike.
        """
        return self.log_likelihood_ratio + self.least >= OUTWEIGHS


def ground(captioner: Captioner, image: ImageLike, phrase: str, lang: str = "en") -> Grounding:
    """The boxes that a phrase, or a statement about one thing, means.

    Raises InputError for an image that cannot be read, a language that the model does not have,
    and a phrase that is empty, too long or without a known word.
    """
    speech = CaptionScorer(captioner, lang)
    ways = readings(phrase, lang)
    check_words(captioner, phrase)
    speech.tokens(max((way.sentence for way in ways), key=len))
    settings = captioner.manifest.preprocessing
    model_input, placement = preprocess(image, settings)  # [S,S,3]
    way = _likeliest(speech, [model_input, np.full_like(model_input, settings.fill)], ways)
    boxes = _distinct(speech.named_boxes(model_input))
    fits, without, least = _names(speech, model_input, boxes, way)  # [N], one, [N]
    if not boxes or fits.max() < without + SPEAKS:  # the caption missed it
        boxes.append(speech.box_of(hide(model_input, boxes, []), speech.tokens(way.name)))
        fits, without, least = _names(speech, model_input, boxes, way)
    bar = min(max(fits.max() - FITS, without + SPEAKS), fits.max())  # the best one always counts
    rivals = np.flatnonzero(fits >= bar)
    scores = fits[rivals]
    if way.rest and len(rivals) > 1:
        scores = scores + _told(speech, model_input, [boxes[i] for i in rivals], way)
    shares = np.exp(log_softmax(scores))
    order = np.argsort(-shares, kind="stable")
    best = rivals[order[0]]
    return Grounding(
        phrase=phrase,
        name=way.name,
        sentence=way.sentence if way.rest else way.name,
        referents=tuple(
            Referent(placement.to_image(boxes[rivals[i]]), float(shares[i])) for i in order
        ),
        log_likelihood_ratio=float(fits[best] - without),
        least=float(least[best]),
    )


def _likeliest(
    speech: CaptionScorer, model_inputs: Sequence[np.ndarray], ways: Sequence[Reading]
) -> Reading:
    """The way to take the phrase whose sentence has the highest mean log-probability.

    Of each token its likelier image counts: the one that is asked about knows its words, a grey
    one the words of what is not there. By a grey one alone, "el cuadrado rojo" was cut behind its
    noun, "El cuadrado está rojo."
    """
    code = speech.see(np.stack(model_inputs))
    tokens = [speech.tokens(way.sentence) for way in ways]
    asked = [(image, ids) for ids in tokens for image in range(len(model_inputs))]
    rows = _in_groups(speech.likelihoods(code, asked), len(model_inputs))
    means = [np.max(of_one, 0).mean() for of_one in rows]
    return ways[int(np.argmax(means))]


def _in_groups(rows: Sequence[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    return (rows[i : i + size] for i in range(0, len(rows), size))


def _distinct(boxes: Sequence[InputBox]) -> list[InputBox]:
    """The boxes in order, each thing once."""
    kept: list[InputBox] = []
    for box in boxes:
        if all(iou(box, other) < SAME for other in kept):
            kept.append(box)
    return kept


def _names(
    speech: CaptionScorer, model_input: np.ndarray, boxes: Sequence[InputBox], way: Reading
) -> tuple[np.ndarray, float, np.ndarray]:
    """log p(name | article) with each candidate alone, f32 [N], and with none.

    Third, with each candidate, that of the name's least likely token, f32 [N].
    """
    name = speech.tokens(way.name)
    start = _shared(speech.tokens(way.article), name) if way.article else 0
    alone = [hide(model_input, [b for b in boxes if b is not box], [box]) for box in boxes]
    code = speech.see(np.stack([*alone, hide(model_input, boxes, [])]))  # N + 1
    rows = speech.likelihoods(code, [(i, name) for i in range(len(boxes) + 1)])
    found = _sums_and_least([row[start:] for row in rows])  # [2,N+1]
    one = copula_of(speech.lang).one
    if one and not way.name.startswith(one):
        found = np.maximum(found, _counted(speech, code, one, way.name))
    sums, least = found
    return sums[:-1], float(sums[-1]), least[:-1]


def _sums_and_least(rows: Sequence[np.ndarray]) -> np.ndarray:
    """f32 [2,n] of n rows of log-probabilities."""
    return np.array([[row.sum(), row.min(initial=0.0)] for row in rows], np.float32).T


def _counted(speech: CaptionScorer, code: ImageCode, one: str, name: str) -> np.ndarray:
    """What `_sums_and_least` gives, after the number one and the counter that the model chooses."""
    leads = [one + counter for counter in speech.next_token(code, one)]
    asked = [(i, speech.tokens(lead + name)) for i, lead in enumerate(leads)]
    starts = [_shared(speech.tokens(lead), asked[i][1]) for i, lead in enumerate(leads)]
    rows = speech.likelihoods(code, asked)
    return _sums_and_least([row[at:] for row, at in zip(rows, starts, strict=True)])


def _told(
    speech: CaptionScorer, model_input: np.ndarray, rivals: Sequence[InputBox], way: Reading
) -> np.ndarray:
    """log p of what is said of each rival, the others taken out: f32 [N]."""
    sentence = speech.tokens(way.sentence)
    start = _shared(speech.tokens(way.name + way.joint), sentence)
    images = [hide(model_input, [b for b in rivals if b is not box], [box]) for box in rivals]
    code = speech.see(np.stack(images))
    rows = speech.likelihoods(code, [(i, sentence) for i in range(len(rivals))])
    return np.array([row[start:].sum() for row in rows], np.float32)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    differ = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    return differ[0] if differ else min(len(a), len(b))
