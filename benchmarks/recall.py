"""Recall and speed of approximate search in a large index against exact search.

    python -m edgecap.benchmarks.recall --n 100000
    python -m edgecap.benchmarks.recall --n 1000000 --kinds spread --exact

A real index is written, and opened in a process of its own for the time and the memory that takes.
With `--exact` it has no graph, and every search compares all vectors. All times are CPU time.

n vectors of width E, Q queries. Image embeddings have a low effective dimension: about 7 for the
shipped weights (participation ratio of 400 test scenes). Kinds of random vectors here:

    spread    variances that fall as exp(-i / 16): effective dimension about 32
    clusters  a thousand centres, with noise as large as their spread
    even      all 256 dimensions alike, where all distances are similar: the hardest case for a
              graph, and unlike any model
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecap.apps.retrieval import graph, store
from edgecap.apps.retrieval.manifest import SCHEMA, Graph, IndexManifest, Maker
from edgecap.apps.retrieval.search import Index, open_index
from edgecap.apps.retrieval.store import Entry
from edgecap.core.choices import pick
from edgecap.core.command import check_numbers, run_command

WIDTH, CENTRES, FALL = 256, 1000, 16.0
KINDS = ("spread", "clusters", "even")
K = 10  # hits of a search


@dataclass(frozen=True)
class Recall:
    """Share of the exact k nearest that were found; CPU times in ms per query, `build` in s."""

    kind: str
    vectors: int
    recall: float
    ms: float
    exact_ms: float
    build: float
    megabytes: float  # of the graph's file
    build_mb: float  # peak resident memory of building and writing, the n vectors included
    opened: float  # s of CPU time until the index is read, checked and searched once
    opened_mb: float  # resident then, of which files that the system may drop: see mapped_mb
    mapped_mb: float


def measure(
    kind: str, n: int, queries: int = 100, k: int = K, threads: int = 1, with_graph: bool = True
) -> Recall:
    """Build an index of n random vectors and search it; deterministic except for times."""
    rng = np.random.default_rng(0)
    drawn = draw(kind, n + queries, rng)
    vectors, query_vectors = drawn[:n], drawn[n:]  # [n,E], [Q,E]
    start = time.process_time()
    data = graph.build(np.arange(n), vectors, threads) if with_graph else b""
    built = time.process_time() - start
    with tempfile.TemporaryDirectory(prefix="edgecap-recall-") as place:
        _write(Path(place), vectors, data)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        command = [sys.executable, "-m", "edgecap.benchmarks.recall", "--open", place]
        opened = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        index = open_index(place)
        index.search(query_vectors[0], k)  # opens the file
        (found, ms), (truth, exact_ms) = (
            _timed(index, query_vectors, k, exact=exact) for exact in (False, True)
        )
    shared = sum(len(set(a) & set(b)) for a, b in zip(found, truth, strict=True))
    size = len(data) / 1e6
    return Recall(kind, n, shared / (k * queries), ms, exact_ms, built, size, peak, **opened)


def open_here(place: Path) -> dict[str, float]:
    """The last three fields of Recall, of this process."""
    start = time.process_time()
    index = open_index(place)
    index.search(np.full(WIDTH, WIDTH**-0.5, np.float32), K)
    seconds = time.process_time() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, mapped = (float(status[key].split()[0]) / 1024 for key in ("VmRSS", "RssFile"))
    return {"opened": seconds, "opened_mb": resident, "mapped_mb": mapped}


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


def _write(root: Path, vectors: np.ndarray, data: bytes) -> None:
    """An index of vectors f32 [n,E] without images; `data`: the graph's file, empty for none."""
    n = len(vectors)
    maker = Maker("drawn", "drawn", "drawn", "fp32", ((0.0,) * WIDTH,))
    covering = Graph(store.new_name("graph", ".usearch"), n, n) if data else None
    if covering is not None:
        (root / covering.file).write_bytes(data)
    blank = IndexManifest(SCHEMA, "/", maker, WIDTH, True, 0, (), None, {})
    entries = [Entry(key, str(key), 0, 0, "") for key in range(n)]
    store.rewrite(root, blank, entries, vectors, covering)


def _timed(index: Index, queries: np.ndarray, k: int, exact: bool) -> tuple[list[list[str]], float]:
    """The hits of each query, and the median CPU time in ms per query."""
    found, times = [], []
    for query in queries:
        start = time.process_time()
        hits = index.search(query, k, exact=exact)
        times.append(time.process_time() - start)
        found.append([hit.path.name for hit in hits])
    return found, 1000 * float(np.median(times))


def main(arguments: list[str] | None = None) -> int:
    """The command: a line per kind of vectors."""
    parser = ArgumentParser(prog="python -m edgecap.benchmarks.recall")
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--threads", type=int, default=1, help="for building")
    parser.add_argument("--exact", action="store_true", help="without a graph")
    parser.add_argument("--open", metavar="DIR", type=Path, help="only open this index")
    args = parser.parse_args(arguments)
    return run_command("recall", lambda: _run(args))


def _run(args: Namespace) -> None:
    check_numbers(args, "recall", n=K, queries=1, threads=1)
    if args.open is not None:
        print(json.dumps(open_here(args.open)))
        return
    kinds = [pick("kind", kind, KINDS) for kind in args.kinds.split(",")]
    for kind in kinds:
        row = measure(kind, args.n, args.queries, threads=args.threads, with_graph=not args.exact)
        print(
            f"{kind}: {row.vectors} vectors, recall@{K} {row.recall:.4f}, {row.ms:.1f} ms a search "
            f"(exact {row.exact_ms:.1f}); built in {row.build:.0f} s with {row.build_mb:.0f} MB, "
            f"graph {row.megabytes:.0f} MB; opened in {row.opened:.1f} s with "
            f"{row.opened_mb:.0f} MB, {row.mapped_mb:.0f} of them files"
        )


if __name__ == "__main__":
    sys.exit(main())
