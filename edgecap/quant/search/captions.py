"""What a plan makes of the captions of any captioner: as fp32 writes them, or against the user's.

Captions are fp32's greedy ones. What a plan would have written is known by feeding these back: only
where it would have chosen another token, and only where captions are scored, it decodes itself.

Letters: N images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgecap.apps.caption_metrics import cider_d_each
from edgecap.core.errors import InputError
from edgecap.models.adapter import GraphFunction
from edgecap.quant.captions import CaptionSet, collect_captions

Functions = Sequence[GraphFunction]
LEAST = 2  # images with captions: CIDEr-D of one is 0, since no word is rare


class SameCaptions:
    """Captions that are token for token those of fp32."""

    measure = "captions as in fp32"
    languages: tuple[str, ...] = ()

    def __init__(self, captions: CaptionSet) -> None:
        """`captions` of the float model; all of them count as right."""
        self._captions = captions
        self.scores = np.ones((len(captions), 1), bool)

    def score(self, simulated: Functions, label: str) -> np.ndarray:
        """Which are the same, bool [N,1]."""
        return self._captions.unchanged(simulated, label)[:, None]


class ScoredCaptions:
    """CIDEr-D of captions against those that people wrote; a point is 1 of CIDEr-D x 100."""

    measure = "CIDEr-D"
    languages: tuple[str, ...] = ()

    def __init__(
        self,
        captions: CaptionSet,
        references: Sequence[Sequence[str]],
        end: Sequence[int],
        text: Callable[[Sequence[int]], str],
    ) -> None:
        """Score the float model's captions.

        Args:
            captions: of the float model, of N images.
            references: for each of the N images one or more captions.
            end: tokens that end a caption.
            text: the words of the tokens behind the prompt.

        Raises:
            InputError: nothing could be lost, since no caption has a word of its references.
        """
        self._captions, self._references = captions, references
        self._end, self._text = end, text
        self._written = [self._words(caption) for caption in captions.captions]
        self.scores = self._score(self._written)
        if not self.scores.any():
            raise InputError(
                "max_drop.nothing",
                f"no caption of the {len(captions)} images scores above 0 in fp32, so no loss can "
                "be seen.",
                "Check that the captions are of these images, or leave out --data.",
            )

    def score(self, simulated: Functions, label: str) -> np.ndarray:
        """CIDEr-D, f64 [N,1], 0 … 10."""
        changed = np.flatnonzero(~self._captions.unchanged(simulated, label)).tolist()
        written = list(self._written)
        if changed:
            prompt = self._captions.captions[0][: self._captions.prompt]
            images = [self._captions.images[row] for row in changed]
            interface = self._captions.interface
            anew = collect_captions(simulated, interface, images, prompt, self._end)
            for row, caption in zip(changed, anew.captions, strict=True):
                written[row] = self._words(caption)
        return self._score(written)

    def _words(self, caption: Sequence[int]) -> str:
        tokens = caption[self._captions.prompt :]
        return self._text(tokens[:-1] if tokens and tokens[-1] in self._end else tokens)

    def _score(self, written: Sequence[str]) -> np.ndarray:
        return np.array(cider_d_each(written, self._references))[:, None]
