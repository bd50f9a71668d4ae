"""The manifest of an index, `index.json`, which lists all other files.

    index.json              this file, replaced atomically after every other file is on disk
    entries-XXXXXXXX.jsonl  one image per line, in the order of the vectors: see store.Entry
    vectors-XXXXXXXX.f32    little-endian float32 [rows,E], norm 1; per image the whole image, then
                            each object in it
    graph-XXXXXXXX.usearch  in large indexes: an HNSW graph over the keys below `before`

    pending.json            while an index is updated: the manifest of what is done so far, its
                            segments those of index.json and further ones. Searches never read it

While images are embedded, segments are added, on the first run to index.json and later to
pending.json; the end of a run merges them into one. Files that are in neither are left over from a
killed run and are never read.

Letters: E embedding width.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgecap.bundle.files import FileEntry, check_name
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode, read_json

SCHEMA = 2
MANIFEST, PENDING = "index.json", "pending.json"
AGAIN = "Make the index anew: edgecap index DIR -o INDEX --overwrite"
_MAX_EMBEDDING = 1 << 16


@dataclass(frozen=True)
class Maker:
    """The model that made the vectors; `probes` identify it (see probes.py)."""

    name: str
    source: str  # a bundle's path, a weights file, or the name of a shipped model
    format: str
    precision: str
    probes: tuple[tuple[float, ...], ...]  # E numbers for each probe image
    weights: str | None = None  # hex SHA-256 of the weights file; null if unknown


@dataclass(frozen=True)
class Segment:
    """Entries of images and their vectors: two files."""

    images: int
    rows: int  # vectors
    entries: str
    vectors: str


@dataclass(frozen=True)
class Graph:
    """A usearch file that holds `rows` keys: all those below `before` when it was built."""

    file: str
    before: int
    rows: int


@dataclass(frozen=True)
class IndexManifest:
    """The whole of index.json."""

    schema: int
    folder: str  # absolute path of the folder that is indexed
    model: Maker
    embedding: int  # E
    whole: bool  # vectors of whole images only, none of objects
    next_key: int  # keys are never reused
    segments: tuple[Segment, ...]  # of two entries with one path, the later is valid
    graph: Graph | None
    files: dict[str, FileEntry]  # every file but this one

    @property
    def rows(self) -> int:
        return sum(segment.rows for segment in self.segments)


def read_manifest(root: Path, name: str = MANIFEST) -> IndexManifest:
    """The checked manifest of an index directory; BundleError with a code index.*.

    `name`: PENDING for that of an update that goes on or was stopped.
    """
    if not root.is_dir():
        what = "is a file, not an index directory" if root.exists() else "does not exist"
        raise BundleError(
            "index.missing", f"{root} {what}.", "Make one with: edgecap index DIR -o INDEX"
        )
    file = root / name
    if file.is_symlink() or not file.is_file():
        raise BundleError(
            "index.foreign",
            f"{root} has no {name}: not an index of images.",
            "Make one with: edgecap index DIR -o INDEX",
        )
    try:
        value = read_json(file, name)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            found = value.get("schema") if isinstance(value, dict) else None
            raise BundleError(
                "index.schema",
                f"{file} has schema {found!r}; this edgecap reads schema {SCHEMA}.",
                AGAIN,
            )
        manifest = decode(IndexManifest, value, name)
        for listed in manifest.files:
            check_name(listed)
    except BundleError as error:  # from the bundle's reader
        raise as_index_error(error) from None
    _check(manifest)
    return manifest


def as_index_error(error: BundleError) -> BundleError:
    """The same error with a code of the index."""
    code = "index." + error.code.removeprefix("bundle.").removeprefix("index.")
    return BundleError(code, error.message, error.hint or AGAIN)


def _check(manifest: IndexManifest) -> None:
    """Raise BundleError for an inconsistent manifest."""
    for name, entry in manifest.files.items():
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256) or entry.size < 0:
            raise _bad(f"files.{name} has no valid SHA-256 and size")
    if not 1 <= manifest.embedding <= _MAX_EMBEDDING:
        raise _bad(f"embedding must be 1-{_MAX_EMBEDDING}, got {manifest.embedding}")
    if not Path(manifest.folder).is_absolute():
        raise _bad(f"folder must be an absolute path, got {manifest.folder[:60]!r}")
    probes = manifest.model.probes
    if not probes or any(len(probe) != manifest.embedding for probe in probes):
        raise _bad(f"model.probes must be lists of {manifest.embedding} numbers")
    weights = manifest.model.weights
    if weights is not None and not re.fullmatch(r"[0-9a-f]{64}", weights):
        raise _bad("model.weights must be null or a SHA-256")
    used = [name for segment in manifest.segments for name in (segment.entries, segment.vectors)]
    used += [manifest.graph.file] if manifest.graph else []
    if not manifest.segments or Counter(used) != Counter(list(manifest.files)):
        raise _bad("segments and graph must name every listed file once and no other")
    for segment in manifest.segments:
        vector_bytes = segment.rows * manifest.embedding * 4
        most = segment.images if manifest.whole else segment.rows
        if not 1 <= segment.images <= segment.rows <= most:
            raise _bad(f"{segment.images} images cannot have {segment.rows} vectors")
        if manifest.files[segment.vectors].size != vector_bytes:
            raise _bad(f"{segment.vectors} must have {segment.rows} rows of {manifest.embedding}")
    graph = manifest.graph
    if graph is not None and not 0 < graph.rows <= graph.before <= manifest.next_key:
        raise _bad("graph.rows, graph.before and next_key do not agree")


def _bad(message: str) -> BundleError:
    return BundleError("index.manifest", f"{MANIFEST}: {message}.", AGAIN)
