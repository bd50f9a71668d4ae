"""Which token may come next, so that a malformed box cannot be written.

A box is four location tokens x0 y0 x1 y1 with x1 > x0 and y1 > y0. Outside a box any word may come;
inside one only the locations that keep it valid; a box begins only where four tokens still fit.

Letters: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class LocationRule:
    """The rule for one vocabulary. Without state: everything follows from the tokens so far."""

    def __init__(
        self,
        vocabulary: int,
        first_location: int,
        bins: int,
        banned: Iterable[int] = (),
        boxes: bool = True,
    ) -> None:
        """`banned`: tokens never to be generated. `boxes`: whether boxes may be written at all."""
        self.first, self.bins = first_location, bins
        words = np.ones(vocabulary, np.bool_)  # [V]
        words[list(banned)] = False
        words[first_location : first_location + bins] = False
        self._words = words
        self._outside = words.copy()
        if boxes:
            # The last edge cannot open a box: nothing lies right of it or below.
            self._outside[first_location : first_location + bins - 1] = True

    def allowed(self, tokens: Sequence[int], left: int) -> np.ndarray:
        """Mask bool [V] of what may follow `tokens` when `left` more tokens may be generated."""
        box = self._open_box(tokens)
        if not box:
            return self._outside if left >= 4 else self._words
        lowest = box[len(box) - 2] + 1 if len(box) >= 2 else 0
        highest = self.bins if len(box) >= 2 else self.bins - 1
        mask = np.zeros_like(self._words)
        mask[self.first + lowest : self.first + highest] = True
        return mask

    def _open_box(self, tokens: Sequence[int]) -> list[int]:
        """Bins of the box that is not complete yet."""
        run = 0
        while run < len(tokens) and self.is_location(tokens[-1 - run]):
            run += 1
        begun = run % 4
        return [token - self.first for token in tokens[len(tokens) - begun :]]

    def is_location(self, token: int) -> bool:
        return self.first <= token < self.first + self.bins
