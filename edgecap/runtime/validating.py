"""A session whose outputs are held to the contract: a foreign graph fails with a name, not later.

Letters as in session.py.
"""

from __future__ import annotations

import numpy as np

from edgecap.bundle.manifest import ATTENTION, Contract
from edgecap.core.errors import BundleError, UnsupportedError
from edgecap.runtime.session import ImageCode, Session, Step


class ValidatingSession:
    """Passes every call on; BundleError (bundle.model) where a shape is not the contract's."""

    def __init__(self, session: Session, contract: Contract) -> None:
        self._session, self._contract = session, contract
        self.batch = session.batch

    def encode_image(self, image: np.ndarray) -> ImageCode:
        code = self._session.encode_image(image)
        c, B = self._contract, len(image)
        rows = (c.layers, B, c.heads, c.patches, c.head_width)
        _check_shape(k=(code.k, rows), v=(code.v, rows))
        _check_shape(image_embedding=(code.embedding, (B, c.embedding)))
        return code

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        step = self._session.decode(token, position, k, v)
        return self._held(step, (len(token), self._contract.patches))

    def decode_attention(
        self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray
    ) -> Step:
        c = self._contract
        check_attention(c)
        step = self._session.decode_attention(token, position, k, v)
        return self._held(step, (len(token), c.layers, c.heads, c.patches))

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        embedding = self._session.encode_text(tokens, length)
        _check_shape(text_embedding=(embedding, (len(tokens), self._contract.embedding)))
        return embedding

    def _held(self, step: Step, attention: tuple[int, ...]) -> Step:
        c, B = self._contract, attention[0]
        row = (c.layers, B, c.heads, 1, c.head_width)
        _check_shape(
            logits=(step.logits, (B, c.vocabulary)), k_new=(step.k, row), v_new=(step.v, row)
        )
        _check_shape(attention=(step.attention, attention))
        return step


def check_attention(contract: Contract) -> None:
    """UnsupportedError where the model has no decode_attention."""
    if ATTENTION not in contract.functions:
        raise UnsupportedError(
            "attention.missing",
            "this bundle gives the mean over layers and heads only; it was exported without "
            "--attention.",
            "Export it again with --attention, or take the PyTorch model S.",
        )


def _check_shape(**outputs: tuple[np.ndarray, tuple[int, ...]]) -> None:
    for name, (array, shape) in outputs.items():
        if array.shape != shape:
            raise BundleError(
                "bundle.model",
                f"{name} came out as {list(array.shape)}; the contract says {list(shape)}.",
            )
