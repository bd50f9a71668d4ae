"""The state of captions in progress: image rows, text rows and rolling tensors, by name.

Image entries are what `encode` gave and are never copied in a step. Text entries are buffers of T
rows; the host writes the row of step t at row t. Rolling entries are replaced by each step.

Letters: B sequences, G key/value heads, T text rows, Dh head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgecap.bundle.interface import Interface
from edgecap.runtime.graphs import Graphs


class State:
    """B sequences that were all fed the same number of tokens."""

    def __init__(self, graphs: Graphs, encoded: Mapping[str, np.ndarray], copies: int = 1) -> None:
        """From the outputs of `encode` for b images; each of them begins `copies` sequences."""
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
        """One token more of every sequence; logits f32 [B,V] of what may follow."""
        token = np.asarray(tokens, np.int32)[:, None]  # [B,1]
        position = np.full(self.size, self._fed, np.int32)  # [B]
        made = self._graphs.decode(token, position, self._arrays)
        interface = self._graphs.interface
        for entry in interface.entries("text"):
            self._arrays[entry.name][:, :, self._fed] = made[entry.new][:, :, 0]  # [B,G,Dh]
        for entry in interface.entries("rolling"):
            self._arrays[entry.name] = made[entry.new]
        self._fed += 1
        self.attention = made.get("attention")
        return made["logits"].astype(np.float32, copy=False)

    def back(self) -> None:
        """Forget the last token: its rows are written over by the next. For timing one step."""
        self._fed -= 1

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these sequences, in this order; one may go on several times."""
        if list(rows) == list(range(self.size)):
            return
        self._arrays = {name: array[list(rows)] for name, array in self._arrays.items()}
        self.size = len(rows)
