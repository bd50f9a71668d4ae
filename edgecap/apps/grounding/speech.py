"""What grounding asks of a captioner, on model_inputs: boxes, and how likely words are.

Letters as in session.py; N model_inputs, W tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime.batches import in_batches
from edgecap.runtime.cache import Cache
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.mentions import InputBox
from edgecap.runtime.scoring import pick_images, token_scores
from edgecap.runtime.session import ImageCode

GROUNDED, RELATE = "grounded", "relate"
Item = TypeVar("Item")
Result = TypeVar("Result")


class CaptionScorer:
    """One captioner speaking one language. Safe to share between threads."""

    def __init__(self, captioner: Captioner, lang: str) -> None:
        """Raises InputError for a language or style that the model does not have."""
        self._captioner, self.lang = captioner, lang
        self._relate = captioner.vocabulary.prompt(lang, RELATE)
        self._grounded = captioner.vocabulary.prompt(lang, GROUNDED)
        self._text_length = captioner.manifest.contract.text_length

    def see(self, model_inputs: np.ndarray) -> ImageCode:
        """The codes of model_inputs uint8 [N,S,S,3]."""

        def work(batch: Sequence[np.ndarray]) -> list[ImageCode]:
            code = self._captioner.session.encode_image(np.stack(batch))
            return [pick_images(code, [b]) for b in range(len(batch))]

        parts = self._each(list(model_inputs), work)
        return ImageCode(
            np.concatenate([part.k for part in parts], 1),
            np.concatenate([part.v for part in parts], 1),
            np.concatenate([part.embedding for part in parts], 0),
        )

    def _each(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> list[Result]:
        return list(in_batches(items, self._captioner.batch_size(), work))

    def tokens(self, text: str) -> list[int]:
        """Ids of a sentence; InputError (text.too_long) where a box after it would not fit."""
        ids = self._captioner.tokenizer.encode(text)
        room = self._text_length - len(self._relate) - 4
        if len(ids) > room:
            raise InputError(
                "text.too_long",
                f"the text {text[:30]!r}… has {len(ids)} tokens; at most {room} fit.",
                "Shorten it.",
            )
        return ids

    def likelihoods(
        self, code: ImageCode, asked: Sequence[tuple[int, Sequence[int]]]
    ) -> list[np.ndarray]:
        """For each (image, sentence): log p of the sentence's tokens as a relation, f32 [W]."""

        def work(batch: Sequence[tuple[int, Sequence[int]]]) -> list[np.ndarray]:
            images = pick_images(code, [image for image, _ in batch])
            sequences = [[*self._relate, *ids] for _, ids in batch]
            session = self._captioner.session
            scores = token_scores(session, images, self._text_length, sequences)
            return [row[len(self._relate) - 1 :] for row in scores]

        return self._each(asked, work)

    def next_token(self, code: ImageCode, text: str) -> list[str]:
        """What the model says next after a text, one token an image, as a relation."""
        ids = (*self._relate, *self.tokens(text))

        def work(batch: Sequence[int]) -> list[str]:
            cache = Cache(self._captioner.session, pick_images(code, batch), self._text_length)
            logits = cache.prompt(ids).logits  # [b,V]
            return [self._captioner.tokenizer.decode([int(row.argmax())]) for row in logits]

        return self._each(range(code.k.shape[1]), work)

    def named_boxes(self, model_input: np.ndarray) -> list[InputBox]:
        """Every box of the grounded caption of uint8 [S,S,3], px of the model_input."""
        (caption,) = self._captioner.caption([model_input], self.lang, style=GROUNDED)
        return [box for mention in caption.mentions for box in mention.boxes]

    def box_of(self, model_input: np.ndarray, name: Sequence[int]) -> InputBox:
        """The box that the model writes after a name, greedily, of uint8 [S,S,3].

        Raises UnsupportedError where the rule of the bundle lets no location follow.
        """
        vocabulary = self._captioner.vocabulary
        rule, bin_px = vocabulary.box_grammar, self._captioner.manifest.coordinates.bin_px
        cache = Cache(self._captioner.session, self.see(model_input[None]), self._text_length)
        step = cache.prompt([*self._grounded, *name])
        box: list[int] = []
        location = np.zeros(step.logits.shape[1], np.bool_)  # [V]
        location[vocabulary.locations] = True
        state = rule.start
        for left in range(4, 0, -1):
            allowed = rule.allowed(state, box, left) & location  # [V]
            if not allowed.any():
                raise UnsupportedError(
                    "ground.no_boxes",
                    f"the rule of {self._captioner.manifest.name} lets no box follow a name.",
                    "Take a model that writes boxes.",
                )
            box.append(int(np.where(allowed, step.logits[0], -np.inf).argmax()))
            state = rule.after(state, box[-1])
            if left > 1:
                step = cache.step([box[-1]])
        x0, y0, x1, y1 = (float((token - vocabulary.locations[0]) * bin_px) for token in box)
        return x0, y0, x1, y1
