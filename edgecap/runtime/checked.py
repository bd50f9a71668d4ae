"""A session whose outputs are held to the contract: a foreign graph fails with a name, not later.

Letters as in session.py.
"""

from __future__ import annotations

import numpy as np

from edgecap.bundle.manifest import Contract
from edgecap.core.errors import BundleError
from edgecap.runtime.session import ImageCode, Session, Step


class CheckedSession:
    """Passes every call on; BundleError (bundle.model) where a shape is not the contract's."""

    def __init__(self, session: Session, contract: Contract) -> None:
        self._session, self._contract = session, contract
        self.batch = session.batch

    def encode_image(self, image: np.ndarray) -> ImageCode:
        code = self._session.encode_image(image)
        c, B = self._contract, len(image)
        rows = (c.layers, B, c.heads, c.patches, c.head_width)
        _hold(k=(code.k, rows), v=(code.v, rows))
        _hold(image_embedding=(code.embedding, (B, c.embedding)))
        return code

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        step = self._session.decode(token, position, k, v)
        c, B = self._contract, len(token)
        row = (c.layers, B, c.heads, 1, c.head_width)
        _hold(logits=(step.logits, (B, c.vocabulary)), k_new=(step.k, row), v_new=(step.v, row))
        _hold(attention=(step.attention, (B, c.patches)))
        return step

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        embedding = self._session.encode_text(tokens, length)
        _hold(text_embedding=(embedding, (len(tokens), self._contract.embedding)))
        return embedding


def _hold(**outputs: tuple[np.ndarray, tuple[int, ...]]) -> None:
    for name, (array, shape) in outputs.items():
        if array.shape != shape:
            raise BundleError(
                "bundle.model",
                f"{name} came out as {list(array.shape)}; the contract says {list(shape)}.",
            )
