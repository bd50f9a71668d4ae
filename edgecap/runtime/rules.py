"""Which tokens may follow, and when a caption ends: generation settings and token grammar.

Letters: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.core.errors import BundleError
from edgecap.runtime.grammar import TokenGrammar
from edgecap.runtime.logits import apply_rules


def no_token() -> BundleError:
    """What is raised where the rules forbid every token."""
    return BundleError("bundle.generation", "the rules of generation allow no token.")


@dataclass(frozen=True)
class Rules:
    """The rules of one request."""

    spec: GenerationSpec
    grammar: TokenGrammar | None = None  # None: any token may follow any other

    @property
    def start(self) -> str:
        """The grammar state of an empty sequence."""
        return self.grammar.start if self.grammar else ""

    def after(self, state: str, token: int) -> str:
        """The grammar state after `token`."""
        return self.grammar.after(state, token) if self.grammar else state

    def best(self, logits: np.ndarray, tokens: Sequence[int], state: str) -> int:
        """The allowed token with the highest score; on ties, the lower id.

        Args:
            logits: f32 [V] of the token after `tokens`, not modified.
            tokens: generated so far.
            state: of the grammar, after them.
        """
        scores = apply_rules(self.spec, logits, tokens)
        token = int(scores.argmax())  # NaN, if there is one
        if not np.isfinite(logits[token]):
            raise BundleError("bundle.not_finite", "the model's scores hold NaN or infinity.")
        if scores[token] == -np.inf:
            raise no_token()
        if self.grammar is None:
            return token
        left = self.spec.max_new_tokens - len(tokens)
        if self.grammar.allows(state, tokens, left, token):
            return token
        return int(self._masked(scores, tokens, state, left).argmax())

    def constrained(self, scores: np.ndarray, tokens: Sequence[int], state: str) -> np.ndarray:
        """Scores f32 [V] after `tokens` under the rules, -inf for tokens that are not allowed."""
        scores = apply_rules(self.spec, scores, tokens)
        return self._masked(scores, tokens, state, self.spec.max_new_tokens - len(tokens))

    def _masked(
        self, scores: np.ndarray, tokens: Sequence[int], state: str, left: int
    ) -> np.ndarray:
        if self.grammar is None:
            return scores
        return np.where(self.grammar.allowed(state, tokens, left), scores, np.float32(-np.inf))


def limited(
    spec: GenerationSpec, max_tokens: int | None = None, beams: int | None = None
) -> GenerationSpec:
    """The same spec with a lower token limit, or another number of beams."""
    if max_tokens is not None:
        spec = replace(
            spec,
            max_new_tokens=min(max_tokens, spec.max_new_tokens),
            min_new_tokens=min(spec.min_new_tokens, max_tokens),
        )
    return spec if beams is None else replace(spec, beams=beams)
