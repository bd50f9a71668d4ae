"""The KV cache, owned by the host: the graphs read it and return only the new rows (schema 1).

Letters as in session.py. Row p < P belongs to the image, row P + t to text token t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.runtime.session import ImageCode, Session, Step


class Cache:
    """The caches of B sequences that are at the same text position.

    Sessions of any batch size get one array; sessions of batch size 1 get one array per sequence,
    so that no step has to copy a cache out of a batch.
    """

    def __init__(self, session: Session, code: ImageCode, text_length: int) -> None:
        self._session = session
        self._patches = code.k.shape[3]
        self.position = 0  # number of text tokens in the cache
        B = code.k.shape[1]
        groups = [slice(0, B)] if session.batch is None else [slice(b, b + 1) for b in range(B)]
        # [L,b,H,Tmax,Dh] twice per group; zeros, because masked rows must be finite.
        self._parts = [
            (buffer(code.k[:, rows], text_length), buffer(code.v[:, rows], text_length))
            for rows in groups
        ]

    def __len__(self) -> int:
        """B."""
        return sum(k.shape[1] for k, _ in self._parts)

    def step(self, tokens: Sequence[int]) -> Step:
        """Feed one token to each sequence and store its rows; the Step of all B."""
        steps: list[Step] = []
        start = 0
        row = self._patches + self.position
        for k, v in self._parts:
            b = k.shape[1]
            token = np.array(tokens[start : start + b], np.int32)[:, None]  # [b,1]
            position = np.full(b, self.position, np.int32)  # [b]
            step = self._session.decode(token, position, k, v)
            k[:, :, :, row] = step.k[:, :, :, 0]  # [L,b,H,Dh]
            v[:, :, :, row] = step.v[:, :, :, 0]
            steps.append(step)
            start += b
        self.position += 1
        if len(steps) == 1:
            return steps[0]
        axes = {"logits": 0, "k": 1, "v": 1, "attention": 0}
        joined = {
            name: np.concatenate([getattr(step, name) for step in steps], axis)
            for name, axis in axes.items()
        }
        return Step(**joined)

    def prompt(self, tokens: Sequence[int]) -> Step:
        """Feed the same tokens, one or more, to every sequence; the last Step."""
        for token in tokens:
            step = self.step([token] * len(self))
        return step

    def keep(self, sequences: Sequence[int]) -> None:
        """Drop every sequence but these."""
        if self._session.batch is None:
            k, v = self._parts[0]
            chosen = list(sequences)
            self._parts = [(k[:, chosen], v[:, chosen])]  # [L,b,H,Tmax,Dh]
        else:
            self._parts = [self._parts[b] for b in sequences]

    def reorder(self, parents: Sequence[int]) -> None:
        """Sequence b continues sequence parents[b]. All must be of the same image."""
        rows = slice(self._patches, self._patches + self.position)
        views = [(k[:, b], v[:, b]) for k, v in self._parts for b in range(k.shape[1])]
        # Copied before any is overwritten; image rows are equal and not moved.
        moved = [
            (b, views[parent][0][:, :, rows].copy(), views[parent][1][:, :, rows].copy())
            for b, parent in enumerate(parents)
            if parent != b
        ]
        for b, k_rows, v_rows in moved:  # [L,H,t,Dh]
            views[b][0][:, :, rows] = k_rows
            views[b][1][:, :, rows] = v_rows


def buffer(image_rows: np.ndarray, text_length: int) -> np.ndarray:
    """Image rows [L,b,H,P,Dh] at the start of a cache [L,b,H,P+T,Dh], zeros after them."""
    L, b, H, P, Dh = image_rows.shape
    rows = np.zeros((L, b, H, P + text_length, Dh), image_rows.dtype)
    rows[:, :, :, :P] = image_rows
    return rows
