"""The HNSW graph (arXiv 1603.09320) over the vectors of a large index, in a usearch file.

usearch reads the same file on phones and in browsers. It stores int8 vectors: the graph only
proposes candidates, which are scored again with the float32 vectors. Files that hold float16, as
they did once, are read as well.

Letters: n vectors, E embedding width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.core.lazy import require
from edgecap.core.progress import progress

# Half of usearch's own effort in building, and eight times that in searching: building takes nearly
# all of the time, and recall was the same (`python -m edgecap.benchmarks.recall`).
CONNECTIVITY, EXPANSION_ADD, EXPANSION_SEARCH = 32, 64, 512
PACKAGE = ("usearch.index", "search")  # module, and the extra of edgecap that installs it
_CHUNK = 512  # vectors added between two steps of the progress bar


def build(
    keys: np.ndarray, vectors: np.ndarray, threads: int = 1, onto: Path | None = None
) -> bytes:
    """The usearch file of vectors f32 [n,E] under keys int [n].

    onto: the file of a graph that they are added to, a copy of it.

    Raises MissingPackageError if usearch is not installed.
    """
    graph = _empty(vectors.shape[1])
    if onto is not None:
        graph.load(str(onto))
    for start in progress(range(0, len(keys), _CHUNK), "building the graph"):
        part = slice(start, start + _CHUNK)
        graph.add(keys[part].astype(np.uint64), vectors[part], copy=True, threads=threads)
    return bytes(graph.save())


def open_graph(file: Path, rows: int, width: int) -> Any:
    """The graph of a file; BundleError unless it holds `rows` vectors of `width` numbers."""
    graph = _empty(width)
    try:
        graph.view(str(file))
    except (RuntimeError, ValueError, OSError) as error:
        raise BundleError("index.graph", f"usearch cannot read {file}: {error}.") from None
    if (graph.ndim, len(graph)) != (width, rows):
        raise BundleError(
            "index.graph",
            f"{file} holds {len(graph)} vectors of {graph.ndim} numbers; the manifest says {rows} "
            f"of {width}.",
        )
    return graph


def nearest(graph: Any, query: np.ndarray, count: int) -> np.ndarray:
    """Keys int64 of (approximately) the `count` vectors nearest to `query` f32 [E]."""
    return np.asarray(graph.search(query, count).keys).astype(np.int64)


def _empty(width: int) -> Any:
    index = require(*PACKAGE)
    return index.Index(
        ndim=width,
        metric="ip",
        dtype="i8",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )
