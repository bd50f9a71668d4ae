"""The functions of a schema 2 bundle, by the names of its interface, on any engine.

Letters: B batch, b first image of a call, h and w height and width of the image in px,
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
    """Calls functions of the interface; splits batches for engines of batch 1, checks shapes.

    Thread-safe if the session is.
    """

    def __init__(self, session: FunctionSession, interface: Interface) -> None:
        self.interface, self._session = interface, session

    def encode(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Image and rolling state of uint8 [B,h,w,3], and `image_embedding` [B,E] if declared."""
        return self.run(ENCODE, {"image": image})

    def decode(
        self, token: np.ndarray, position: np.ndarray, state: Arrays
    ) -> dict[str, np.ndarray]:
        """`logits` [B,V] and new rows of the state, for int32 tokens [B,1] at positions [B]."""
        return self.run(DECODE, {"token": token, "position": position, **state})

    def encode_text(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Embeddings f32 [B,E] of int32 tokens [B,N], of which the first `length` [B] are used."""
        return self.run(ENCODE_TEXT, {"tokens": tokens, "length": length})["text_embedding"]

    def run(self, name: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """Run one function on a batch; BundleError for outputs of other shapes than declared."""
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
                    "bundle.model", f"{name} returned {key} {list(whole.shape)}, not {list(shape)}."
                )
            joined[key] = whole
        return joined
