"""The functions of a bundle of schema 2, by the names of its interface, on any engine.

Letters: B batch, b the part of it that a call takes, h and w height and width of the image in px,
V vocabulary, E embedding, N tokens of a text to embed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgecap.bundle.interface import DECODE, ENCODE, ENCODE_TEXT, Interface
from edgecap.core.errors import BundleError
from edgecap.runtime.backends.single import FunctionSession

Arrays = Mapping[str, np.ndarray]


class Graphs:
    """Calls functions of the interface, splits batches where the engine takes one, checks shapes.

    Safe to share between threads where the session is.
    """

    def __init__(self, session: FunctionSession, interface: Interface) -> None:
        self.interface, self._session = interface, session

    def encode(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Image and rolling state of uint8 [B,h,w,3], and `image_embedding` [B,E] where it is."""
        return self.run(ENCODE, {"image": image})

    def decode(
        self, token: np.ndarray, position: np.ndarray, state: Arrays
    ) -> dict[str, np.ndarray]:
        """`logits` [B,V] and new rows of the state, for int32 tokens [B,1] at positions [B]."""
        return self.run(DECODE, {"token": token, "position": position, **state})

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Embeddings f32 [B,E] of int32 tokens [B,N] of which `length` [B] count."""
        return self.run(ENCODE_TEXT, {"tokens": tokens, "length": length})["text_embedding"]

    def run(self, name: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """One function on a batch; BundleError where the engine gives other shapes."""
        B = len(next(iter(inputs.values())))
        size = self.interface.batch or B
        made = [
            self._session.run(name, {key: value[b : b + size] for key, value in inputs.items()})
            for b in range(0, B, size)
        ]
        spec = self.interface.function(name)
        joined = {}
        for key, tensor in spec.outputs.items():
            parts = [part[key] for part in made]
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            shape = self.interface.sizes(tensor.shape, B)
            if whole.shape != shape:
                raise BundleError(
                    "bundle.model", f"{name} gives {key} {list(whole.shape)}, not {list(shape)}."
                )
            joined[key] = whole
        return joined
