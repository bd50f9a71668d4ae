"""Attention of single layers and heads, for models exported with it.

Letters as in session.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecap.bundle.manifest import Contract
from edgecap.core.errors import InputError
from edgecap.runtime.session import ImageCode, Session, Step
from edgecap.runtime.validating import check_attention


class PerHeadAttention:
    """A session whose decode steps return the attention of all layers and heads, f32 [B,L,H,P]."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.batch = session.batch

    def encode_image(self, image: np.ndarray) -> ImageCode:
        return self._session.encode_image(image)

    def decode(self, token: np.ndarray, position: np.ndarray, k: np.ndarray, v: np.ndarray) -> Step:
        return self._session.decode_attention(token, position, k, v)

    decode_attention = decode

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        return self._session.encode_text(tokens, length)


def selection(
    contract: Contract, layer: int | None, head: int | None
) -> Callable[[np.ndarray], np.ndarray] | None:
    """A function from the attention of a step, f32 [L,H,P], to that of a layer or head, f32 [P].

    None if no layer is requested. Raises InputError for an index out of range or a head without a
    layer, UnsupportedError for a model exported without attention per head.
    """
    for what, index, there in (("layer", layer, contract.layers), ("head", head, contract.heads)):
        if index is not None and not 0 <= index < there:
            raise InputError(
                f"attention.{what}", f"{what} must be in 0 … {there - 1}, got {index}."
            )
    if layer is None:
        if head is not None:
            raise InputError(
                "attention.layer", f"head {head} needs a layer.", "Give the layer as well."
            )
        return None
    check_attention(contract)
    if head is None:
        return lambda attention: attention[layer].mean(0)
    return lambda attention: attention[layer, head]
