"""The files of an index: strict reading, and writing that is safe against a kill at any time.

Every change writes new files first, then replaces index.json atomically; files that only the old
manifest lists are deleted afterwards. So a reader sees the index as it was before an update, or as
it is after it.

Letters: N images of the index, R vectors, E embedding width.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgecap.apps.retrieval.manifest import (
    AGAIN,
    MANIFEST,
    PENDING,
    Graph,
    IndexManifest,
    Segment,
    read_manifest,
)
from edgecap.bundle.files import FileEntry
from edgecap.core.atomic import DRAFT, write_file
from edgecap.core.digest import file_sha256
from edgecap.core.errors import BundleError, InputError
from edgecap.core.locks import open_locked
from edgecap.core.typed import dump
from edgecap.runtime.preprocess import Box

_VECTORS = np.dtype("<f4")
# The exact names of files of this module: a user's entries-2024.jsonl does not match.
_PART = r"(entries-[0-9a-f]{8}\.jsonl|vectors-[0-9a-f]{8}\.f32|graph-[0-9a-f]{8}\.usearch)"
_PENDING = re.escape(PENDING)
_DRAFT = rf"\.({re.escape(MANIFEST)}|{_PENDING}|{_PART}){re.escape(DRAFT)}[0-9a-f]{{8}}"
_OURS = re.compile(f"{_PENDING}|{_PART}|{_DRAFT}")
_LINES = 1024  # lines decoded at once: nearly as fast as all, with a fraction of the memory
_FAR = 1e9  # px, larger than any image


Things = tuple[tuple[Box, ...], ...]  # boxes of each object, or group of one name; px of the image


class Entry(NamedTuple):
    """One image as it was when it was embedded."""

    key: int  # of its first vector in the graph; the keys of its objects follow
    path: str  # below the folder, parts joined by "/"
    size: int  # bytes
    mtime_ns: int
    sha256: str
    things: Things = ()  # the object of each further vector

    @property
    def rows(self) -> int:
        """The number of its vectors."""
        return 1 + len(self.things)

    @property
    def end(self) -> int:
        """The first key after its own."""
        return self.key + self.rows


@dataclass(frozen=True)
class Stored:
    """An index on disk: the current entries and, in their order, their vectors."""

    root: Path
    manifest: IndexManifest
    entries: tuple[Entry, ...]  # N, keys ascending
    vectors: np.ndarray  # f32 [R,E], norm 1


def keys_of(entries: Sequence[Entry]) -> np.ndarray:
    """The keys of all vectors of some images, int64 [R]."""
    rows = np.array([entry.rows for entry in entries])  # [N]
    before = np.cumsum(rows) - rows  # [N], rows of all earlier images
    first = np.array([entry.key for entry in entries], np.int64) - before  # [N]
    return np.repeat(first, rows) + np.arange(rows.sum())


def read(root: Path) -> Stored:
    """Check an index completely and return it; raises BundleError, code index.*."""
    manifest = read_manifest(root)
    while True:
        try:
            return _read(root, manifest)
        except (BundleError, FileNotFoundError) as error:
            # An update may have replaced the files meanwhile; then the manifest has changed.
            newer = read_manifest(root)
            altered = isinstance(error, BundleError) and error.code != "index.missing_file"
            if altered or newer == manifest:
                raise
            manifest = newer


def _read(root: Path, manifest: IndexManifest) -> Stored:
    for name, entry in manifest.files.items():
        _check_file(root / name, entry)
    newest: dict[str, tuple[Entry, np.ndarray]] = {}
    for segment in manifest.segments:
        entries = _read_entries(root / segment.entries, segment, manifest.next_key)
        vectors = np.memmap(
            root / segment.vectors, _VECTORS, "r", shape=(segment.rows, manifest.embedding)
        )
        if not np.isfinite(vectors).all():
            raise BundleError("index.vectors", f"{segment.vectors} holds NaN or infinity.")
        if len(manifest.segments) == 1 and len({entry.path for entry in entries}) == len(entries):
            return Stored(root, manifest, _live(entries), vectors)
        each = np.split(vectors, np.cumsum([entry.rows for entry in entries])[:-1])
        newest |= {entry.path: (entry, rows) for entry, rows in zip(entries, each, strict=True)}
    live = sorted(newest.values(), key=lambda pair: pair[0].key)
    stacked = np.concatenate([rows for _, rows in live])  # [R,E]
    return Stored(root, manifest, _live([entry for entry, _ in live]), stacked)


def read_pending(root: Path) -> Stored:
    """The index with what a stopped update has done beyond it; errors as of `read`.

    Left out is what belongs to another state of the index, or is damaged: it is only work saved.
    """
    base = read_manifest(root)
    try:
        pending = read_manifest(root, PENDING)
        if pending.segments[: len(base.segments)] == base.segments:
            return _read(root, pending)
    except (BundleError, FileNotFoundError):
        pass
    return read(root)


def append(
    root: Path, manifest: IndexManifest, entries: Sequence[Entry], vectors: np.ndarray, name: str
) -> IndexManifest:
    """Write a checkpoint: `manifest` with one more segment; vectors f32 [r,E].

    `name`: of the manifest's file: MANIFEST, or PENDING, which no search reads.
    """
    segment, files = _write_segment(root, entries, vectors)
    return _publish(
        root,
        name,
        replace(
            manifest,
            next_key=max(manifest.next_key, entries[-1].end),
            segments=(*manifest.segments, segment),
            files=manifest.files | files,
        ),
    )


def rewrite(
    root: Path,
    manifest: IndexManifest,
    entries: Sequence[Entry],
    vectors: np.ndarray,
    graph: Graph | None,
) -> IndexManifest:
    """Write the whole index as one segment and delete replaced files; vectors f32 [R,E].

    `graph` refers to a file that is already in `root`.
    """
    segment, files = _write_segment(root, entries, vectors)
    if graph is not None:
        files[graph.file] = _entry_of(root / graph.file)
    next_key = max(manifest.next_key, entries[-1].end)
    merged = replace(manifest, next_key=next_key, segments=(segment,), graph=graph, files=files)
    _publish(root, MANIFEST, merged)
    sweep(root, merged)
    return merged


def sweep(root: Path, manifest: IndexManifest | None, pending: bool = False) -> None:
    """Delete files of this module that are not in the manifest: left over from a killed run.

    `pending`: `manifest` is that of PENDING, which is kept.
    """
    named = set(manifest.files) if manifest else set()
    if not pending:
        (root / PENDING).unlink(missing_ok=True)  # before the files it lists
    for file in _ours(root) - {root / PENDING}:
        if file.name not in named:
            file.unlink(missing_ok=True)


def is_blank(root: Path) -> bool:
    """Whether a directory without a manifest is empty, except for files of a killed first run."""
    return not set(root.iterdir()) - _ours(root)


def _ours(root: Path) -> set[Path]:
    return {file for file in root.iterdir() if _OURS.fullmatch(file.name) and file.is_file()}


def new_name(kind: str, suffix: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}{suffix}"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Lock an index against other runs while it is written; a kill releases the lock."""
    descriptor = open_locked(root.resolve())
    if descriptor is None:
        raise InputError(
            "index.busy",
            f"{root} is being written by another run.",
            "Wait for it; searches need not.",
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _write_segment(
    root: Path, entries: Sequence[Entry], vectors: np.ndarray
) -> tuple[Segment, dict[str, FileEntry]]:
    lines = "".join(json.dumps(entry._asdict(), ensure_ascii=False) + "\n" for entry in entries)
    names = new_name("entries", ".jsonl"), new_name("vectors", ".f32")
    contents = lines.encode("utf-8"), np.ascontiguousarray(vectors, _VECTORS).tobytes()
    for name, data in zip(names, contents, strict=True):
        write_file(root / name, data)
    files = {
        name: FileEntry(hashlib.sha256(data).hexdigest(), len(data))
        for name, data in zip(names, contents, strict=True)
    }
    return Segment(len(entries), len(vectors), *names), files


def _publish(root: Path, name: str, manifest: IndexManifest) -> IndexManifest:
    write_file(root / name, dump(manifest))
    return manifest


def _entry_of(file: Path) -> FileEntry:
    return FileEntry(file_sha256(file), file.stat().st_size)


def _check_file(file: Path, entry: FileEntry) -> None:
    if file.is_symlink() or not file.is_file():
        raise BundleError("index.missing_file", f"{file.name} is listed but missing.", AGAIN)
    size = file.stat().st_size
    if size != entry.size:
        code = "index.truncated" if size < entry.size else "index.oversized"
        raise BundleError(code, f"{file} has {size} bytes; the manifest says {entry.size}.", AGAIN)
    if _entry_of(file) != entry:
        raise BundleError(
            "index.altered", f"{file} is not the file the manifest was written for.", AGAIN
        )


def _read_entries(file: Path, segment: Segment, next_key: int) -> list[Entry]:
    def bad(what: str) -> BundleError:
        return BundleError("index.entries", f"{file} {what}.", AGAIN)

    lines = file.read_bytes().split(b"\n")
    if len(lines) != segment.images + 1 or lines.pop():
        raise bad(f"does not have {segment.images} lines")
    entries: list[Entry] = []
    for start in range(0, len(lines), _LINES):
        some = lines[start : start + _LINES]
        try:
            values = json.loads(b"[" + b",".join(some) + b"]")
        except (ValueError, RecursionError) as error:
            raise bad(f"is not JSON: {error}") from None
        if len(values) != len(some) or not all(map(_is_entry, values)):
            raise bad(f"has an entry without exactly the fields {', '.join(Entry._fields)}")
        entries += map(_entry, values)
    outside = [entry.path for entry in entries if not _is_inside(entry.path)]
    if outside:
        raise BundleError("index.path", f"{file.name}: {outside[0]!r} leaves the folder.", AGAIN)
    if sum(entry.rows for entry in entries) != segment.rows:
        raise bad(f"does not describe {segment.rows} vectors")
    if any(entry.key < 0 or entry.end > next_key for entry in entries):
        raise bad("has keys that are not below next_key of the manifest")
    return entries


def _is_entry(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and tuple(value) == Entry._fields
        and [type(item) for item in value.values()] == [int, str, int, int, str, list]
        and all(isinstance(group, list) and group for group in value["things"])
        and all(_is_box(box) for group in value["things"] for box in group)
    )


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(type(edge) in (int, float) for edge in value)
        and 0 <= value[0] <= value[2] < _FAR  # false of NaN
        and 0 <= value[1] <= value[3] < _FAR
    )


def _entry(value: dict[str, Any]) -> Entry:
    things = tuple(tuple(tuple(box) for box in group) for group in value["things"])
    return Entry(**{**value, "things": things})


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and "\0" not in path and not {"", ".", ".."} & set(parts)


def _live(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries of an index, checked: keys ascend, and equal images have equal objects."""

    def bad(what: str) -> BundleError:
        return BundleError("index.entries", f"{what}.", AGAIN)

    if any(a.end > b.key for a, b in pairwise(entries)):
        raise bad("the keys of its images do not ascend, or one occurs twice")
    things: dict[str, Things] = {}
    for entry in entries:
        if things.setdefault(entry.sha256, entry.things) != entry.things:
            raise bad(f"{entry.path} has other objects than an image with the same bytes")
    return tuple(entries)
