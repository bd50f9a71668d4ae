"""Finding the pictures nearest to a vector: exactly in a small index, by the graph in a large one.

The graph covers the keys that were there when it was built. What came since is compared exactly,
and what has gone since is passed over, so an index is right before its graph is built anew.

Letters: N pictures, n proposals, E embedding width.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.core.errors import InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.index import graph, probes
from edgecap.runtime.index.manifest import IndexManifest
from edgecap.runtime.index.store import Stored, read

MOST = 10_000  # hits of one search
_PROPOSALS = 64  # at least so many are scored again


@dataclass(frozen=True)
class Hit:
    """One picture that was found."""

    rank: int  # from 1
    path: Path
    score: float  # cosine of the two embeddings


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
        """The k pictures nearest to f32 [E] of norm 1, best first; equal scores by age.

        `exact` compares with every picture, whatever the size. Raises InputError for a k outside
        1 … MOST.
        """
        self.check_number(k)
        query = np.ascontiguousarray(vector, np.float32)  # [E]
        if exact or self.manifest.graph is None:
            rows, vectors = np.arange(len(self)), self._stored.vectors  # not copied off the disk
        else:
            rows = self._proposed(query, k)
            vectors = self._stored.vectors[rows]
        scores = vectors @ query  # one per row
        best = _top(scores, k)
        folder = Path(self.manifest.folder)
        return [
            Hit(rank, folder / self._stored.entries[row].path, float(score))
            for rank, (row, score) in enumerate(zip(rows[best], scores[best], strict=True), 1)
        ]

    @cached_property
    def _keys(self) -> np.ndarray:
        return np.array([entry.key for entry in self._stored.entries], np.int64)  # [N] ascending

    @cached_property
    def _graph(self) -> Any:
        covered = self.manifest.graph
        assert covered is not None
        return graph.open_graph(
            self._stored.root / covered.file, covered.rows, self.manifest.embedding
        )

    def _proposed(self, query: np.ndarray, k: int) -> np.ndarray:
        """Rows worth scoring, ascending: the graph's proposals that live, and all it lacks."""
        covered = self.manifest.graph
        assert covered is not None
        tail = np.arange(np.searchsorted(self._keys, covered.before), len(self))
        wanted = max(4 * k, _PROPOSALS)
        while True:
            wanted = min(wanted, covered.rows)
            proposed = graph.nearest(self._graph, query, wanted)  # [n]
            alive = np.flatnonzero(np.isin(self._keys, proposed))
            if len(alive) >= k or wanted == covered.rows:
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
