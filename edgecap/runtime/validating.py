"""A session that checks its outputs against the contract, so that invalid graphs fail early.

Letters as in session.py.
"""

from __future__ import annotations

import numpy as np

from edgecap.bundle.manifest import ATTENTION, Contract
from edgecap.core.errors import BundleError, UnsupportedError
from edgecap.runtime.session import ImageCode, Session, Step


class ValidatingSession:
    """Forwards every call; BundleError (bundle.model) if a shape differs from the contract."""

    def __init__(self, session: Session, contract: Contract) -> None:
        self._session, self._contract = session, contract
        self.batch = session.batch

    def encode_image(self, image: np.ndarray) -> ImageCode:
        code = self._session.encode_image(image)
        c, B = self._contract, len(image)
        rows = (c.layers, B, c.heads, c.patches, c.head_width)
        _check_shapes(k=(code.k, rows), v=(code.v, rows))
        _check_shapes(image_embedding=(code.embedding, (B, c.embedding)))
        return code

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        step = self._session.decode(token, position, k, v)
        return self._validated(step, (len(token), self._contract.patches))

    def decode_attention(
        self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        c = self._contract
        check_attention(c)
        step = self._session.decode_attention(token, position, k, v)
        return self._validated(step, (len(token), c.layers, c.heads, c.patches))

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        embedding = self._session.encode_text(tokens, length)
        _check_shapes(text_embedding=(embedding, (len(tokens), self._contract.embedding)))
        return embedding

    def _validated(self, step: Step, attention: tuple[int, ...]) -> Step:
        c, B = self._contract, attention[0]
        row = (c.layers, B, c.heads, 1, c.head_width)
        _check_shapes(
            logits=(step.logits, (B, c.vocabulary)), k_new=(step.k, row), v_new=(step.v, row)
        )
        _check_shapes(attention=(step.attention, attention))
        return step


def check_attention(contract: Contract) -> None:
    """Raise UnsupportedError if the model has no decode_attention."""
    if ATTENTION not in contract.functions:
        raise UnsupportedError(
            "attention.missing",
            "this bundle was exported without --attention; it returns only the mean over layers "
            "and heads.",
            "Export it again with --attention, or use the PyTorch model S.",
        )


def _check_shapes(**outputs: tuple[np.ndarray, tuple[int, ...]]) -> None:
    for name, (array, shape) in outputs.items():
        if array.shape != shape:
            raise BundleError(
                "bundle.model",
                f"{name} has shape {list(array.shape)}; the contract declares {list(shape)}.",
            )
