"""The operations of grounding on a captioner: boxes, and likelihoods of words.

Letters as in bundle/interface.py; N model inputs, W tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime.batches import in_batches
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.image_processing import Box
from edgecap.runtime.scoring import token_scores
from edgecap.runtime.state import State

Encoded: TypeAlias = "dict[str, np.ndarray]"  # what `encode` returns for N images
GROUNDED, RELATE = "grounded", "relate"
Item = TypeVar("Item")
Result = TypeVar("Result")


class CaptionScorer:
    """One captioner in one language. Thread-safe."""

    def __init__(self, captioner: Captioner, lang: str) -> None:
        """Raises InputError for a language or style that the model does not have."""
        self._captioner, self.lang = captioner, lang
        self._relate = captioner.vocabulary.prompt(lang, RELATE)
        self._grounded = captioner.vocabulary.prompt(lang, GROUNDED)
        self._graphs = captioner.graphs

    def encode(self, model_inputs: np.ndarray) -> Encoded:
        """What `encode` returns for model_inputs uint8 [N,S,S,3]."""

        def work(batch: Sequence[np.ndarray]) -> list[Encoded]:
            encoded = self._graphs.encode(np.stack(batch))
            return [self._graphs.pick(encoded, [b]) for b in range(len(batch))]

        return self._graphs.join(self._each(list(model_inputs), work))

    def _each(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> list[Result]:
        return list(in_batches(items, self._captioner.batch_size(), work))

    def tokens(self, text: str) -> list[int]:
        """Ids of a sentence; InputError (text.too_long) if a box after it would not fit."""
        ids = self._captioner.tokenizer.encode(text)
        room = self._captioner.vocabulary.text_length - len(self._relate) - 4
        if len(ids) > room:
            raise InputError(
                "text.too_long",
                f"the text {text[:30]!r}… has {len(ids)} tokens; at most {room} fit.",
                "Shorten it.",
            )
        return ids

    def likelihoods(
        self, encoded: Encoded, pairs: Sequence[tuple[int, Sequence[int]]]
    ) -> list[np.ndarray]:
        """For each (image, sentence): log p of the tokens with the prompt "relate", f32 [W]."""

        def work(batch: Sequence[tuple[int, Sequence[int]]]) -> list[np.ndarray]:
            images = self._graphs.pick(encoded, [image for image, _ in batch])
            sequences = [[*self._relate, *ids] for _, ids in batch]
            scores = token_scores(self._graphs, images, sequences)
            return [row[len(self._relate) - 1 :] for row in scores]

        return self._each(pairs, work)

    def next_token(self, encoded: Encoded, text: str) -> list[str]:
        """The most likely next token after a text, per image, with the prompt "relate"."""
        ids = (*self._relate, *self.tokens(text))

        def work(batch: Sequence[int]) -> list[str]:
            state = State(self._graphs, self._graphs.pick(encoded, batch))
            logits = state.prompt(ids).logits  # [b,V]
            return [self._captioner.tokenizer.decode([int(row.argmax())]) for row in logits]

        return self._each(range(len(encoded["image_embedding"])), work)

    def named_boxes(self, model_input: np.ndarray) -> list[Box]:
        """All boxes of the grounded caption of uint8 [S,S,3], in px of the model input."""
        (caption,) = self._captioner.caption([model_input], self.lang, style=GROUNDED)
        return [box for mention in caption.mentions for box in mention.boxes]

    def box_of(self, model_input: np.ndarray, name: Sequence[int]) -> Box:
        """The box that the model generates greedily after a name, for uint8 [S,S,3].

        Raises UnsupportedError if the grammar of the bundle allows no location token there.
        """
        vocabulary = self._captioner.vocabulary
        regions = self._captioner.manifest.regions
        assert regions is not None  # models with languages have boxes
        grammar, bin_px = vocabulary.box_grammar, regions.bin_px
        state = State(self._graphs, self.encode(model_input[None]))
        step = state.prompt([*self._grounded, *name])
        box: list[int] = []
        location = np.zeros(step.logits.shape[1], np.bool_)  # [V]
        location[vocabulary.locations] = True
        place = grammar.start
        for left in range(4, 0, -1):
            allowed = grammar.allowed(place, box, left) & location  # [V]
            if not allowed.any():
                raise UnsupportedError(
                    "ground.no_boxes",
                    f"the grammar of {self._captioner.manifest.name} allows no box after a name.",
                    "Use a model that generates boxes.",
                )
            box.append(int(np.where(allowed, step.logits[0], -np.inf).argmax()))
            place = grammar.after(place, box[-1])
            if left > 1:
                step = state.feed([box[-1]])
        x0, y0, x1, y1 = (float((token - vocabulary.locations[0]) * bin_px) for token in box)
        return x0, y0, x1, y1
