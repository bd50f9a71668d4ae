"""Constrained decoding: which tokens the grammar of a bundle's manifest allows next.

Letters: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.bundle.grammar import Grammar, Move
from edgecap.core.errors import BundleError


class TokenGrammar:
    """A grammar over one vocabulary, from one of its start states. Thread-safe."""

    def __init__(self, grammar: Grammar, start: str, vocabulary: int, known: int) -> None:
        """`known`: number of ids of the tokenizer; the model's table may be longer, with unused
        rows."""
        self.start = grammar.start[start]
        self._states = grammar.states
        self._nothing = np.zeros(vocabulary, np.bool_)  # [V]
        self._classes: dict[str, np.ndarray] = {}
        for name, ranges in grammar.classes.items():
            self._classes[name] = self._nothing.copy()
            for begin, end in ranges:
                self._classes[name][begin : min(end, known)] = True
        rooms = [move.room for moves in grammar.states.values() for move in moves]
        self._most_room = max(rooms, default=1)
        self._fixed: dict[tuple[str, int], np.ndarray] = {}

    def allowed(self, state: str, tokens: Sequence[int], left: int) -> np.ndarray:
        """Mask bool [V] of tokens allowed after `tokens`, with `left` more tokens to generate.

        Raises BundleError if no token is allowed, which only an invalid grammar can cause.
        """
        mask = self._without_comparing(state, min(left, self._most_room))
        compared = [move for move in self._moves(state, left) if move.above]
        for move in compared:
            beyond = self._classes[move.token].copy()  # [V]
            if len(tokens) >= move.above:
                beyond[: tokens[-move.above] + 1] = False
            mask = mask | beyond
        if not mask.any():
            raise BundleError("bundle.grammar", f"no token is allowed in state {state!r}.")
        return mask

    def allows(self, state: str, tokens: Sequence[int], left: int, token: int) -> bool:
        """Whether `allowed` has this token, without making the mask."""
        for move in self._states[state]:
            if left >= move.room and self._classes[move.token][token]:
                beyond = move.above and len(tokens) >= move.above
                return not beyond or token > tokens[-move.above]
        return False

    def after(self, state: str, token: int) -> str:
        """The state that an allowed token leads to."""
        return next(m.to for m in self._states[state] if self._classes[m.token][token])

    def _moves(self, state: str, left: int) -> list[Move]:
        return [move for move in self._states[state] if left >= move.room]

    def _without_comparing(self, state: str, left: int) -> np.ndarray:
        """The part of the mask, bool [V], that does not depend on earlier tokens."""
        if (state, left) not in self._fixed:
            classes = [self._classes[m.token] for m in self._moves(state, left) if not m.above]
            self._fixed[state, left] = np.any([self._nothing, *classes], axis=0)  # [V]
        return self._fixed[state, left]
