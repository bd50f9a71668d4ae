"""Searches the images nearest to a vector: exactly in a small index, by a graph in a large one.

The graph covers the keys that existed when it was built. Newer vectors are compared exactly, and
deleted ones are skipped, so results are correct without rebuilding the graph.

The score of an image is that of its nearest vector, of the whole image or of an object in it.

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
from edgecap.apps.retrieval.manifest import IndexManifest, read_manifest
from edgecap.apps.retrieval.store import Stored, keys_of, read
from edgecap.core.errors import BundleError, InputError
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.preprocess import Box

MOST = 10_000  # hits of one search
_PROPOSALS = 128  # minimum number of candidates that are scored again


@dataclass(frozen=True)
class Hit:
    """One result of a search."""

    rank: int  # from 1
    path: Path
    score: float  # cosine of the two embeddings
    boxes: tuple[
        Box, ...
    ] = ()  # of the object that was found, px of the image; empty: the whole image


class Index:
    """An opened index, which stays as it was opened whatever is written later. Thread-safe."""

    def __init__(self, stored: Stored) -> None:
        """BundleError (index.graph) if its graph is not that of its manifest."""
        self._stored = stored
        covered = stored.manifest.graph
        # Not at the first search: an update may have deleted the file by then.
        self._graph: Any = (
            None
            if covered is None
            else graph.open_graph(
                stored.root / covered.file, covered.rows, stored.manifest.embedding
            )
        )

    def __len__(self) -> int:
        """N."""
        return len(self._stored.entries)

    @property
    def manifest(self) -> IndexManifest:
        return self._stored.manifest

    def refreshed(self) -> Index:
        """The index as it is on disk now: this one, unless it was updated since it was opened.

        Raises BundleError, code index.*, as `open_index` does.
        """
        root = self._stored.root
        return self if read_manifest(root) == self.manifest else open_index(root)

    def check(self, captioner: Captioner) -> None:
        """Raise BundleError (index.other_model) unless the index was made by this model."""
        probes.check(captioner, self.manifest.model, self.manifest.embedding)

    @staticmethod
    def check_number(k: int) -> None:
        """Raise InputError for a number of hits outside 1 … MOST."""
        if not 1 <= k <= MOST:
            raise InputError("search.number", f"k must be in 1 … {MOST}, got {k}.")

    def search(self, vector: np.ndarray, k: int = 10, exact: bool = False) -> list[Hit]:
        """The k images nearest to f32 [E] of norm 1, best first; ties by age.

        `exact`: compare with every image, in a large index too. Raises InputError for a k outside
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
        # Rows ascend, so the rows of an image are adjacent.
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
        """The index of the image of each vector, [R] ascending."""
        rows = [entry.rows for entry in self._stored.entries]
        return np.repeat(np.arange(len(rows)), rows)

    @cached_property
    def _keys(self) -> np.ndarray:
        """The key of each vector in the graph, [R] ascending."""
        return keys_of(self._stored.entries)

    def _rows_of(self, keys: np.ndarray) -> np.ndarray:
        """The rows of those `keys` that still exist."""
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.unique(places[self._keys[places] == keys])

    def _proposed(self, query: np.ndarray, k: int) -> np.ndarray:
        """Candidate rows, ascending: existing ones proposed by the graph, and all newer ones."""
        covered = self.manifest.graph
        assert covered is not None
        tail = np.arange(np.searchsorted(self._keys, covered.before), len(self._keys))
        count = max(4 * k, _PROPOSALS)
        while True:
            count = min(count, covered.rows)
            proposed = graph.nearest(self._graph, query, count)  # [n]
            alive = self._rows_of(proposed)
            if len(np.unique(self._owners[alive])) >= k or count == covered.rows:
                return np.union1d(alive, tail)
            count *= 4


def open_index(path: str | os.PathLike[str]) -> Index:
    """Read an index completely and strictly; raises BundleError, code index.*.

    MissingPackageError for a large index without usearch.
    """
    root = Path(path)
    while True:
        stored = read(root)
        try:
            return Index(stored)
        except BundleError:
            if read_manifest(root) == stored.manifest:
                raise


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k largest of [n], largest first, ties by index."""
    if k < len(scores):
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= kth)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
