"""The decoding state of a schema 2 model: image rows, text rows and rolling tensors, by name.

Image entries are outputs of `encode` and are not copied in a step. Text entries are buffers of T
rows; the host writes the new row of step t at row t. Rolling entries are replaced in each step.

Letters: B sequences, G key/value heads, T text rows, Dh head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgecap.bundle.interface import Interface
from edgecap.runtime.graphs import Graphs


class State:
    """The state of B sequences that have the same number of tokens."""

    def __init__(self, graphs: Graphs, encoded: Mapping[str, np.ndarray], copies: int = 1) -> None:
        """From the outputs of `encode` for b images; each starts `copies` sequences."""
        interface: Interface = graphs.interface
        self._graphs = graphs
        self._fed = 0
        self._arrays = {
            entry.name: np.repeat(encoded[entry.name], copies, 0)
            if copies > 1
            else encoded[entry.name]
            for entry in interface.entries("image", "rolling")
        }
        self.size = (
            len(encoded["image_embedding"]) * copies
            if not self._arrays
            else len(next(iter(self._arrays.values())))
        )
        for entry in interface.entries("text"):
            shape = interface.sizes(entry.shape, self.size)  # [B,G,T,Dh]
            self._arrays[entry.name] = np.zeros(shape, entry.dtype)

    def feed(self, tokens: Sequence[int]) -> np.ndarray:
        """Feed one token to every sequence; logits f32 [B,V] of the next token."""
        token = np.asarray(tokens, np.int32)[:, None]  # [B,1]
        position = np.full(self.size, self._fed, np.int32)  # [B]
        outputs = self._graphs.decode(token, position, self._arrays)
        interface = self._graphs.interface
        for entry in interface.entries("text"):
            self._arrays[entry.name][:, :, self._fed] = outputs[entry.new][:, :, 0]  # [B,G,Dh]
        for entry in interface.entries("rolling"):
            self._arrays[entry.name] = outputs[entry.new]
        self._fed += 1
        self.attention = outputs.get("attention")
        return outputs["logits"].astype(np.float32, copy=False)

    def back(self) -> None:
        """Undo the last token: the next one overwrites its rows. For timing a single step."""
        self._fed -= 1

    def select(self, rows: Sequence[int]) -> None:
        """Keep these sequences, in this order; repeats are allowed."""
        if list(rows) == list(range(self.size)):
            return
        self._arrays = {name: array[list(rows)] for name, array in self._arrays.items()}
        self.size = len(rows)
