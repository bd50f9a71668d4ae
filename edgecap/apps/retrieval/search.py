"""Finding the images nearest to a vector: exactly in a small index, by the graph in a large one.

The graph covers the keys that were there when it was built. What came since is compared exactly,
and what has gone since is passed over, so an index is right before its graph is built anew.

An image is as near as the nearest of its vectors, of the whole or of a thing in it.

Letters: N images, R vectors, n proposals, E embedding width.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.apps.retrieval import graph, probes
from edgecap.apps.retrieval.manifest import IndexManifest
from edgecap.apps.retrieval.store import Stored, keys_of, read
from edgecap.core.errors import InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.preprocess import Box

MOST = 10_000  # hits of one search
_PROPOSALS = 64  # at least so many are scored again


@dataclass(frozen=True)
class Hit:
    """One image that was found."""

    rank: int  # from 1
    path: Path
    score: float  # cosine of the two embeddings
    boxes: tuple[Box, ...] = ()  # of the thing that was found, px of the image; none: all of it


class Index:
    """An opened index. Safe to share between threads."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def __len__(self) -> int:
        """N."""
        return len(self._stored.entries)

    @property
    def manifest(self) -> IndexManifest:
        return self._stored.manifest

    def check(self, captioner: Captioner) -> None:
        """Raise BundleError (index.other_model) unless this model's vectors fit the index."""
        probes.check(captioner, self.manifest.model, self.manifest.embedding)

    @staticmethod
    def check_number(k: int) -> None:
        """Raise InputError for a number of hits outside 1 … MOST."""
        if not 1 <= k <= MOST:
            raise InputError("search.number", f"k must be in 1 … {MOST}, got {k}.")

    def search(self, vector: np.ndarray, k: int = 10, exact: bool = False) -> list[Hit]:
        """The k images nearest to f32 [E] of norm 1, best first; equal scores by age.

        `exact` compares with every image, whatever the size. Raises InputError for a k outside
        1 … MOST.
        """
        self.check_number(k)
        query = np.ascontiguousarray(vector, np.float32)  # [E]
        if exact or self.manifest.graph is None:
            rows, vectors = np.arange(len(self._keys)), self._stored.vectors  # not copied
        else:
            rows = self._proposed(query, k)
            vectors = self._stored.vectors[rows]
        scores = vectors @ query  # one per row
        # Rows ascend, so those of an image lie together.
        firsts = np.flatnonzero(np.diff(self._owners[rows], prepend=-1))  # one per image
        lasts = np.append(firsts[1:], len(rows))
        best = _top(np.maximum.reduceat(scores, firsts), k)
        places = [
            first + scores[first:last].argmax()
            for first, last in zip(firsts[best], lasts[best], strict=True)
        ]
        return [
            self._hit(rank, int(rows[at]), float(scores[at])) for rank, at in enumerate(places, 1)
        ]

    def _hit(self, rank: int, row: int, score: float) -> Hit:
        entry = self._stored.entries[self._owners[row]]
        view = row - int(np.searchsorted(self._owners, self._owners[row]))
        boxes = entry.things[view - 1] if view else ()
        return Hit(rank, Path(self.manifest.folder) / entry.path, score, boxes)

    @cached_property
    def _owners(self) -> np.ndarray:
        """Of each vector the place of its image, [R] ascending."""
        rows = [entry.rows for entry in self._stored.entries]
        return np.repeat(np.arange(len(rows)), rows)

    @cached_property
    def _keys(self) -> np.ndarray:
        """Of each vector its name in the graph, [R] ascending."""
        return keys_of(self._stored.entries)

    @cached_property
    def _graph(self) -> Any:
        covered = self.manifest.graph
        assert covered is not None
        return graph.open_graph(
            self._stored.root / covered.file, covered.rows, self.manifest.embedding
        )

    def _rows_of(self, keys: np.ndarray) -> np.ndarray:
        """The rows of those of `keys` that live."""
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.unique(places[self._keys[places] == keys])

    def _proposed(self, query: np.ndarray, k: int) -> np.ndarray:
        """Rows worth scoring, ascending: the graph's proposals that live, and all it lacks."""
        covered = self.manifest.graph
        assert covered is not None
        tail = np.arange(np.searchsorted(self._keys, covered.before), len(self._keys))
        wanted = max(4 * k, _PROPOSALS)
        while True:
            wanted = min(wanted, covered.rows)
            proposed = graph.nearest(self._graph, query, wanted)  # [n]
            alive = self._rows_of(proposed)
            if len(np.unique(self._owners[alive])) >= k or wanted == covered.rows:
                return np.union1d(alive, tail)
            wanted *= 4


def open_index(path: str | os.PathLike[str]) -> Index:
    """Read an index completely and strictly; raises BundleError, code index.*."""
    return Index(read(Path(path)))


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest of [n], largest first, ties by place."""
    if k < len(scores):
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= kth)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
