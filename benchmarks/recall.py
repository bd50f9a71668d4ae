"""Recall and speed of approximate search in a large index against exact search.

    python -m edgecap.benchmarks.recall --n 100000

n vectors of width E, Q queries. Image embeddings have a low effective dimension: about 7 for the
shipped weights (participation ratio of 400 test scenes). Kinds of random vectors here:

    spread    variances that fall as exp(-i / 16): effective dimension about 32
    clusters  a thousand centres, with noise as large as their spread
    even      all 256 dimensions alike, where all distances are similar: the hardest case for a
              graph, and unlike any model
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecap.apps.retrieval import graph
from edgecap.apps.retrieval.manifest import SCHEMA, Graph, IndexManifest, Maker
from edgecap.apps.retrieval.search import Index
from edgecap.apps.retrieval.store import Entry, Stored
from edgecap.core.choices import pick
from edgecap.core.command import check_numbers, run_command

WIDTH, CENTRES, FALL = 256, 1000, 16.0
KINDS = ("spread", "clusters", "even")
K = 10  # hits of a search


@dataclass(frozen=True)
class Recall:
    """Share of the exact k nearest that were found; times in ms per query, but `build` in s."""

    kind: str
    vectors: int
    recall: float
    ms: float
    exact_ms: float
    build: float
    megabytes: float  # of the graph's file


def measure(kind: str, n: int, queries: int = 100, k: int = K, threads: int = 1) -> Recall:
    """Build a graph over n random vectors and search it; deterministic except for times."""
    rng = np.random.default_rng(0)
    drawn = draw(kind, n + queries, rng)
    vectors, query_vectors = drawn[:n], drawn[n:]  # [n,E], [Q,E]
    start = time.perf_counter()
    data = graph.build(np.arange(n), vectors, threads)
    built = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "graph").write_bytes(data)
        index = Index(_stored(Path(place), vectors))
        index.search(query_vectors[0], k)  # opens the file
        (found, ms), (truth, exact_ms) = (
            _timed(index, query_vectors, k, exact=exact) for exact in (False, True)
        )
    shared = sum(len(set(a) & set(b)) for a, b in zip(found, truth, strict=True))
    return Recall(kind, n, shared / (k * queries), ms, exact_ms, built, len(data) / 1e6)


def draw(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """f32 [n,E] of norm 1; InputError for an unknown kind."""
    pick("kind", kind, KINDS)
    vectors = rng.standard_normal((n, WIDTH), np.float32)  # [n,E]
    if kind == "spread":
        vectors *= np.exp(-np.arange(WIDTH, dtype=np.float32) / (2 * FALL))
    if kind == "clusters":
        centres = rng.standard_normal((CENTRES, WIDTH), np.float32)
        vectors = centres[rng.integers(CENTRES, size=n)] + vectors
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _stored(root: Path, vectors: np.ndarray) -> Stored:
    """An index of vectors without images; vectors f32 [n,E]."""
    n = len(vectors)
    maker = Maker("drawn", "drawn", "", "", ())
    covering = Graph("graph", n, n)
    manifest = IndexManifest(SCHEMA, "/", maker, WIDTH, True, n, (), covering, {})
    entries = tuple(Entry(key, str(key), 0, 0, "") for key in range(n))
    return Stored(root, manifest, entries, vectors)


def _timed(index: Index, queries: np.ndarray, k: int, exact: bool) -> tuple[list[list[str]], float]:
    """The hits of each query, and the median ms per query."""
    found, times = [], []
    for query in queries:
        start = time.perf_counter()
        hits = index.search(query, k, exact=exact)
        times.append(time.perf_counter() - start)
        found.append([hit.path.name for hit in hits])
    return found, 1000 * float(np.median(times))


def main(arguments: list[str] | None = None) -> int:
    """The command: a line per kind of vectors."""
    parser = ArgumentParser(prog="python -m edgecap.benchmarks.recall")
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--threads", type=int, default=1, help="for building")
    args = parser.parse_args(arguments)
    return run_command("recall", lambda: _run(args))


def _run(args: Namespace) -> None:
    check_numbers(args, "recall", n=K, queries=1, threads=1)
    kinds = [pick("kind", kind, KINDS) for kind in args.kinds.split(",")]
    for kind in kinds:
        row = measure(kind, args.n, args.queries, threads=args.threads)
        print(
            f"{kind}: {row.vectors} vectors, recall@{K} {row.recall:.4f}, {row.ms:.1f} ms a search "
            f"(exact {row.exact_ms:.1f}), built in {row.build:.0f} s, {row.megabytes:.0f} MB"
        )


if __name__ == "__main__":
    sys.exit(main())
