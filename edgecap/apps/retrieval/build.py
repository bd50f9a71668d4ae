"""Updates an index from its folder: only new images are embedded.

An image is unchanged if its size and modification time are. Other images are read; one with known
bytes (renamed, copied, touched) reuses the existing vectors. After every CHECKPOINT embedded images
(in a large index, after 2 % of it) what is done is saved, so that a killed run loses little. What
the first run has saved can be searched; an update shows when it is complete.

Letters: b images of a batch, r vectors of some images, E embedding width, S side of the model input
in px.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgecap.apps.grounding.views import embedded_views
from edgecap.apps.retrieval import graph, probes, store
from edgecap.apps.retrieval.manifest import (
    MANIFEST,
    PENDING,
    SCHEMA,
    Graph,
    IndexManifest,
    read_manifest,
)
from edgecap.apps.retrieval.store import Entry, Stored
from edgecap.core.atomic import make_directory, write_file
from edgecap.core.errors import InputError
from edgecap.core.lazy import require
from edgecap.core.progress import progress
from edgecap.runtime.batches import BATCH
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.folders import images
from edgecap.runtime.image_processing import ProcessedImage, process
from edgecap.runtime.preprocess import read_file

CHECKPOINT = 64  # images: some seconds of work, half a minute with their objects
_CHECKPOINT_SHARE = 0.02  # of a large index: the number of segments grows logarithmically
EXACT_ROWS = 50_000  # vectors; exact comparison with so many takes about 5 ms
MOST_VIEWS = 8  # of an image; more is rare
_DEAD_SHARE = 0.1  # of a graph: with more deleted vectors, searches waste their proposals


# From image files, and whether only whole images count, to a row of each, in order, as
# `edgecap.apps.ray_engine.embeddings` yields them.
Embed: TypeAlias = Callable[[Sequence[Path], bool], Iterable[dict[str, Any]]]


@dataclass(frozen=True)
class Failure:
    """An image that could not be read."""

    path: str  # below the folder
    error: InputError


@dataclass(frozen=True)
class Summary:
    """The result of a run. `images`: the number of images in the index."""

    images: int
    embedded: int
    reused: int  # known bytes under another name or time
    unchanged: int
    removed: int  # files that were deleted from the folder, or are no longer readable
    failures: tuple[Failure, ...]


def update(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    captioner: Captioner,
    source: str,
    threads: int = 1,
    whole: bool = False,
    overwrite: bool = False,
    embed: Embed | None = None,
) -> Summary:
    """Create or update the index `out` of the images below `folder`.

    Args:
        source: the path or name the captioner was loaded from, stored for `edgecap search`; see
            `loadable`.
        threads: for building the graph of a large index.
        whole: embed whole images only: several times as fast, but lower recall for texts that
            describe one object. An existing index keeps its setting.
        overwrite: replace an existing index, also a damaged one.
        embed: embeds images elsewhere, many at once; by default `captioner` does, here.

    Raises:
        InputError for a folder without (readable) images, or an `out` that is not an index or the
        index of another folder; BundleError for an index that is damaged or was made by other
        weights; MissingPackageError if a large folder needs usearch. Searches then find what they
        found before.
    """
    root, top = Path(out), Path(folder)
    names = images(top, skip=root)
    _refuse_foreign(root)
    known = (root / MANIFEST).is_file() and not overwrite
    whole_only = read_manifest(root).whole if known else whole
    if len(names) * (1 if whole_only else MOST_VIEWS) > EXACT_ROWS:
        require(*graph.PACKAGE)  # before hours of work, not after them
    made = not root.exists()
    make_directory(root)
    with store.locked(root):
        try:
            run = _Run(top.resolve(), root, captioner, source, threads, whole, overwrite)
            return run.run(names) if embed is None else run.run_elsewhere(names, embed)
        except InputError:
            if made and not (root / MANIFEST).exists():
                store.sweep(root, None)
                root.rmdir()
            raise


def loadable(source: str) -> str:
    """A source that is valid in any directory: paths become absolute, names are unchanged."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def _refuse_foreign(root: Path) -> None:
    if not root.exists() or (root / MANIFEST).is_file():
        return
    if not root.is_dir() or not store.is_blank(root):
        raise InputError(
            "output.foreign",
            f"{root} exists and is not an index; it was not changed.",
            "Choose another output directory.",
        )


class _Run:
    """One update under the index's lock."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        captioner: Captioner,
        source: str,
        threads: int,
        whole: bool,
        overwrite: bool,
    ) -> None:
        self._folder, self._root, self._captioner = folder, root, captioner
        self._threads, self._resumed = threads, False  # resumed: a stopped update
        # Where the index is one already, checkpoints are hidden from searches.
        self._saved_as = PENDING if (root / MANIFEST).exists() else MANIFEST
        self._before = self._open(source, whole, overwrite)
        self._manifest = self._before.manifest
        self._by_path: dict[str, _Known] = {
            entry.path: (entry, vectors) for entry, vectors in _each(self._before)
        }
        self._by_content = {known[0].sha256: known for known in self._by_path.values()}
        self._contents = set(self._by_content)  # including images waiting to be embedded
        self._same: list[Entry] = []  # copies of known images; their vectors are added at the end
        self._next_key = self._manifest.next_key
        self._rows: list[_Known] = []  # of the new index
        self._unsaved: list[_Known] = []
        self._failures: list[Failure] = []
        self._embedded = self._unchanged = 0

    def run(self, names: Sequence[str]) -> Summary:
        waiting: list[tuple[Entry, ProcessedImage]] = []
        for name in progress(names, "embedding images"):
            waiting += self._examine(name)
            if len(waiting) == BATCH:
                self._embed(waiting)
                waiting = []
        if waiting:
            self._embed(waiting)
        return self._summary()

    def run_elsewhere(self, names: Sequence[str], embed: Embed) -> Summary:
        """The same with embeddings that come from elsewhere."""
        entries = [
            found[0] for name in progress(names, "reading images") if (found := self._read(name))
        ]
        files = [self._folder / entry.path for entry in entries]
        rows = progress(embed(files, self._manifest.whole), "embedding images", len(files))
        for entry, row in zip(entries, rows, strict=True):
            if "error" in row:
                error = InputError(row["error"]["code"], row["error"]["text"])
                copies = [one for one in self._same if one.sha256 == entry.sha256]
                self._same = [one for one in self._same if one.sha256 != entry.sha256]
                self._failures += [Failure(one.path, error) for one in (entry, *copies)]
                continue
            things = tuple(tuple(tuple(box) for box in group) for group in row["things"])
            self._add(entry._replace(things=things), row["vectors"])
            self._checkpoint()
        return self._summary()

    def _summary(self) -> Summary:
        self._finish()
        removed = self._by_path.keys() - {entry.path for entry, _ in self._rows}
        return Summary(
            images=len(self._rows),
            embedded=self._embedded,
            reused=len(self._same),
            unchanged=self._unchanged,
            removed=len(removed),
            failures=tuple(self._failures),
        )

    def _open(self, source: str, whole: bool, overwrite: bool) -> Stored:
        width = self._captioner.manifest.interface.dims["E"]
        if overwrite or not (self._root / MANIFEST).exists():
            if not overwrite:  # existing files are kept until they are replaced
                store.sweep(self._root, None)
            made_by = probes.maker(self._captioner, source)
            blank = IndexManifest(SCHEMA, str(self._folder), made_by, width, whole, 0, (), None, {})
            return Stored(self._root, blank, (), np.zeros((0, width), np.float32))
        stored = store.read_pending(self._root)
        if stored.manifest.folder != str(self._folder):
            raise InputError(
                "index.other_folder",
                f"{self._root} is an index of {stored.manifest.folder}, not of {self._folder}.",
                "Choose another output directory.",
            )
        if whole and not stored.manifest.whole:
            raise InputError(
                "index.whole",
                f"{self._root} includes embeddings of objects, not of whole images only.",
                "Leave --whole out, or choose another output directory.",
            )
        probes.check(self._captioner, stored.manifest.model, stored.manifest.embedding)
        self._resumed = stored.manifest != read_manifest(self._root)
        store.sweep(self._root, stored.manifest, pending=self._resumed)
        return stored

    def _examine(self, name: str) -> list[tuple[Entry, ProcessedImage]]:
        """The entry and image to embed for a file, or nothing."""
        found = self._read(name)
        if found is None:
            return []
        entry, data = found
        try:
            processed = process(data, self._captioner.manifest.image, name)
        except InputError as error:
            self._contents.discard(entry.sha256)
            self._failures.append(Failure(name, error))
            return []
        return [(entry, processed)]

    def _read(self, name: str) -> tuple[Entry, bytes] | None:
        """The entry and bytes of a file whose content is new, or nothing."""
        file = self._folder / name
        known = self._by_path.get(name)
        try:
            status = file.stat()
            if known and (known[0].size, known[0].mtime_ns) == (status.st_size, status.st_mtime_ns):
                self._rows.append(known)
                self._unchanged += 1
                return None
            data = read_file(file)
        except OSError as error:
            reason = InputError("image.missing", f"it cannot be read: {error.strerror}.")
            self._failures.append(Failure(name, reason))
            return None
        except InputError as error:
            self._failures.append(Failure(name, error))
            return None
        digest = hashlib.sha256(data).hexdigest()
        touched = known is not None and known[0].sha256 == digest
        key = known[0].key if known and touched else _NO_KEY
        # The status was read before the bytes: the next run detects a change in between.
        entry = Entry(key, name, status.st_size, status.st_mtime_ns, digest)
        if digest in self._contents:
            self._same.append(entry)
            return None
        self._contents.add(digest)
        return entry, data

    def _embed(self, waiting: Sequence[tuple[Entry, ProcessedImage]]) -> None:
        model_inputs = [image.pixels[0] for _, image in waiting]  # b of [S,S,3]
        views = embedded_views(self._captioner, model_inputs, self._manifest.whole)
        for (entry, image), (parts, vectors) in zip(waiting, views, strict=True):
            back = image.placement.to_image
            things = tuple(tuple(map(back, view.boxes)) for view in parts[1:])
            self._add(entry._replace(things=things), vectors)
        self._checkpoint()

    def _add(self, entry: Entry, vectors: np.ndarray) -> None:
        """A new image with its vectors f32 [1 + things, E]."""
        known = self._keyed(entry), vectors
        self._by_content[entry.sha256] = known
        self._unsaved.append(known)
        self._embedded += 1

    def _checkpoint(self) -> None:
        """Write what is new, if there is enough of it."""
        if len(self._unsaved) >= max(CHECKPOINT, _CHECKPOINT_SHARE * len(self._rows)):
            entries, stacked = _apart(self._unsaved)
            self._manifest = store.append(
                self._root, self._manifest, entries, stacked, self._saved_as
            )
            self._rows += self._unsaved
            self._unsaved = []

    def _keyed(self, entry: Entry) -> Entry:
        """The entry, with new keys if it has none."""
        if entry.key == _NO_KEY:
            entry = entry._replace(key=self._next_key)
            self._next_key = entry.end
        return entry

    def _finish(self) -> None:
        """Merge all entries into one segment, unless the index on disk is already up to date."""
        self._rows += self._unsaved
        for entry in self._same:
            like, vectors = self._by_content[entry.sha256]
            self._rows.append((self._keyed(entry._replace(things=like.things)), vectors))
        if not self._rows:
            raise InputError(
                "index.unreadable",
                f"none of the images in {self._folder} could be read; the first: "
                f"{self._failures[0].path}: {self._failures[0].error.message}",
            )
        self._rows.sort(key=lambda row: row[0].key)
        entries, vectors = _apart(self._rows)
        unchanged = tuple(entries) == self._before.entries and len(self._manifest.segments) == 1
        if unchanged and not self._resumed:
            return
        covering = self._graph(store.keys_of(entries), vectors)
        store.rewrite(self._root, self._manifest, entries, vectors, covering)

    def _graph(self, keys: np.ndarray, vectors: np.ndarray) -> Graph | None:
        """The graph for the new rows: none, the existing one, that one with more, or a new one."""
        if len(keys) <= EXACT_ROWS:
            return None
        existing = self._manifest.graph
        covered, onto = 0, None
        if existing is not None:
            covered = int((keys < existing.before).sum())
            if existing.rows - covered > _DEAD_SHARE * existing.rows:
                existing, covered = None, 0
            elif len(keys) - covered <= EXACT_ROWS:
                return existing
            else:
                onto = self._root / existing.file
        name = store.new_name("graph", ".usearch")
        data = graph.build(keys[covered:], vectors[covered:], self._threads, onto)
        write_file(self._root / name, data)
        before = existing.rows if existing else 0  # with the deleted ones, which stay in it
        return Graph(name, int(keys[-1]) + 1, before + len(keys) - covered)


_NO_KEY = -1  # of an image whose number of vectors is still unknown
_Known = tuple[Entry, np.ndarray]  # its vectors f32 [rows,E]


def _each(stored: Stored) -> Iterator[_Known]:
    """Every entry with its vectors."""
    start = 0
    for entry in stored.entries:
        yield entry, stored.vectors[start : start + entry.rows]
        start += entry.rows


def _apart(known: Sequence[_Known]) -> tuple[list[Entry], np.ndarray]:
    """Entries and their vectors f32 [r,E]."""
    return [entry for entry, _ in known], np.concatenate([vectors for _, vectors in known])
