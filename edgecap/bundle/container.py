"""Single-file bundles, `.edgecap`: a zip archive of stored files in one canonical layout.

SPEC.md, "Single file", gives every byte. The reader accepts that layout alone: entries follow each
other without gaps, so nothing can overlap, hide or expand, and names are the plain names that a
manifest may list. Contents are mapped into memory, not unpacked.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from edgecap.bundle.checks import LFS, State, state_of
from edgecap.bundle.files import MANIFEST, check_name
from edgecap.core.errors import BundleError, InputError
from edgecap.core.packed import PackedFile

SUFFIX = ".edgecap"
# Data begins at multiples of 64 bytes: LiteRT takes host memory at such addresses alone, it is the
# cache line of processors and the width of AVX-512 vectors. A mapping starts at a page, so offsets
# in the file are alignments in memory.
ALIGNMENT = 64
MOST_FILES = 4096
MOST_BYTES = 0xFFFFFFFF  # of the archive: there is no zip64

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_EXTRA = struct.Struct("<3H")  # id, bytes that follow, alignment: as Android's zipalign writes it
_EXTRA_ID = 0xD935
_MADE_BY, _NEEDED = 0x0314, 10  # Unix, zip 2.0; zip 1.0 reads it
_DATE, _MODE = 0x21, 0o100644 << 16  # 1980-01-01; a plain file
_AGAIN = "Make it again with: edgecap pack"


@dataclass(frozen=True)
class Entry:
    """One file of an archive."""

    name: str
    offset: int  # of its bytes
    size: int
    crc32: int


@dataclass(frozen=True)
class Container:
    """An opened archive; `contents` are views of the mapped file."""

    path: Path
    contents: dict[str, memoryview] = field(repr=False)
    _unpacked: list[Path] = field(default_factory=list, repr=False)

    def file(self, name: str) -> PackedFile:
        return PackedFile(self.path, self.contents, PurePosixPath(name))

    def state(self) -> State:
        """The state of the archive, to notice a change; where it was deleted, one like no other."""
        try:
            return state_of(self.path)
        except OSError:
            return State(0, 0, 0, 0, 0, 0)

    def extract(self, names: Iterable[str]) -> Path:
        """Write files into a private temporary directory, for engines that only open paths.

        The directory is the same at each call, and removed with this object or at exit.
        """
        import shutil  # only CoreML and old engines need what begins here
        from tempfile import mkdtemp

        if not self._unpacked:
            self._unpacked.append(Path(mkdtemp(prefix="edgecap-packed-")))  # ours alone: mode 0700
            weakref.finalize(self, shutil.rmtree, self._unpacked[0], ignore_errors=True)
        root = self._unpacked[0]
        for name in names:
            target = root / name  # a plain name: it cannot lead outside
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.contents[name])
        return root


def is_container(path: Path) -> bool:
    """Whether a path is meant to be a packed bundle: by its suffix, or by how the file begins."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_LOCAL.size + len(MANIFEST))
    starts = head.startswith(b"PK\x03\x04") and head.endswith(MANIFEST.encode())
    return starts or (path.suffix == SUFFIX and not head.startswith(LFS))


def open_container(path: Path) -> Container:
    """Map an archive and check its layout; BundleError (bundle.container, bundle.path)."""
    with path.open("rb") as file:  # a mapping outlives the file that it was made of
        empty = os.fstat(file.fileno()).st_size == 0  # which cannot be mapped
        view = memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    entries = read_entries(view, path.name)
    contents = {e.name: view[e.offset : e.offset + e.size] for e in entries}
    if zlib.crc32(contents[MANIFEST]) != entries[0].crc32:
        raise BundleError("bundle.altered", f"{MANIFEST} of {path.name} is damaged.", _AGAIN)
    return Container(path, contents)


def read_entries(data: memoryview, where: str) -> list[Entry]:
    """The files of an archive, manifest.json first; BundleError unless it has the one layout."""

    def refuse(problem: str) -> BundleError:
        return BundleError("bundle.container", f"{where} {problem}.", _AGAIN)

    count, directory, end = _read_end(data, refuse)
    entries: list[Entry] = []
    at, place = 0, directory  # where the next file and the next record begin
    for _ in range(count):
        record, name, place = _read_record(data, place, end, refuse)
        text = name.decode("ascii", "backslashreplace")
        _check_place(text, entries, refuse)
        header = local_header(name, record.crc32, record.stored, at)
        if record.offset != at or bytes(data[at : min(at + len(header), directory)]) != header:
            raise refuse(f"has entries that overlap or leave a gap at {text!r}")
        begin = at + len(header)
        at = begin + record.stored
        if at > directory:
            raise refuse(f"ends inside {text!r}")
        entries.append(Entry(text, begin, record.stored, record.crc32))
    if at != directory or place != end:
        raise refuse("has bytes that belong to no file")
    return entries


_Refuse = Callable[[str], BundleError]


class _Record(NamedTuple):
    """The fixed part of a directory entry, in the order of _CENTRAL."""

    mark: bytes
    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc32: int
    stored: int
    size: int
    name_bytes: int
    extra_bytes: int
    comment_bytes: int
    disk: int
    internal: int
    external: int
    offset: int


def _read_end(data: memoryview, refuse: _Refuse) -> tuple[int, int, int]:
    """How many files there are, where their directory begins, and where it ends."""
    if not _END.size <= len(data) <= MOST_BYTES:
        raise refuse("is not a packed bundle")
    end = len(data) - _END.size
    mark, disk, first_disk, on_disk, count, length, begin, comment = _END.unpack_from(data, end)
    if mark != b"PK\x05\x06":
        raise refuse("has no end record: it is truncated, or something follows it")
    if (disk, first_disk, comment) != (0, 0, 0) or on_disk != count or begin + length != end:
        raise refuse("has a wrong end record")
    if not 1 <= count <= MOST_FILES:
        raise refuse(f"has {count} files; 1 to {MOST_FILES} are allowed")
    return count, begin, end


def _read_record(
    data: memoryview, place: int, end: int, refuse: _Refuse
) -> tuple[_Record, bytes, int]:
    """The directory entry at `place`, its name, and where the next one begins."""
    begin = place + _CENTRAL.size
    if begin > end:
        raise refuse("has a directory that ends early")
    record = _Record(*_CENTRAL.unpack_from(data, place))
    after = begin + record.name_bytes
    name = bytes(data[begin : min(after, end)])
    _check_record(record, name.decode("ascii", "backslashreplace"), refuse)
    if after > end:
        raise refuse("has a directory that ends early")
    return record, name, after


def _check_record(record: _Record, name: str, refuse: _Refuse) -> None:
    """Raise unless the fields of a directory entry are the ones that a packed bundle has."""
    if record.mark != b"PK\x01\x02":
        raise refuse("has a directory that ends early")
    if record.flags & 1:
        raise refuse(f"has the encrypted file {name!r}")
    if record.method != 0 or record.stored != record.size:
        raise refuse(f"has the compressed file {name!r}; files are stored")
    if record.external != _MODE:
        raise refuse(f"has {name!r}, which is a link, a directory or not a plain file")
    expected = record._replace(
        made_by=_MADE_BY, needed=_NEEDED, flags=0, time=0, date=_DATE,
        extra_bytes=0, comment_bytes=0, disk=0, internal=0,
    )  # fmt: skip
    if record != expected:
        raise refuse(f"has fields of {name!r} that no packed bundle has")


def _check_place(name: str, before: Sequence[Entry], refuse: _Refuse) -> None:
    """Raise unless the manifest comes first and other names follow in ascending order."""
    if not before:
        if name != MANIFEST:
            raise refuse(f"does not begin with {MANIFEST}")
        return
    check_name(name)
    if len(before) > 1 and name <= before[-1].name:
        raise refuse(f"has {name!r} twice or out of order")


def local_header(name: bytes, crc: int, size: int, at: int) -> bytes:
    """The header of a file at `at`; its bytes follow at the next multiple of ALIGNMENT."""
    fixed = _LOCAL.size + len(name) + _EXTRA.size
    padding = -(at + fixed) % ALIGNMENT
    fields = (_NEEDED, 0, 0, 0, _DATE, crc, size, size, len(name), _EXTRA.size + padding)
    extra = _EXTRA.pack(_EXTRA_ID, 2 + padding, ALIGNMENT) + bytes(padding)
    return _LOCAL.pack(b"PK\x03\x04", *fields) + name + extra


def directory(entries: Iterable[tuple[Entry, int]], at: int) -> bytes:
    """The directory at `at`, and the end record, of entries and the places of their headers."""
    records = []
    for entry, place in entries:
        name = entry.name.encode()
        sizes = (entry.crc32, entry.size, entry.size, len(name))
        rest = (0, 0, 0, 0, _MODE, place)
        records.append(
            _CENTRAL.pack(b"PK\x01\x02", _MADE_BY, _NEEDED, 0, 0, 0, _DATE, *sizes, *rest) + name
        )
    whole = b"".join(records)
    count = len(records)
    return whole + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(whole), at, 0)


def write_container(out: BinaryIO, files: dict[str, Path], hashes: dict[str, str]) -> int:
    """Write an archive of files by name; returns its bytes. The same files give the same bytes.

    `hashes`: SHA-256 of the files that are checked while they are copied; BundleError
    (bundle.altered) for one that changed. InputError (pack.too_large) beyond the limits.
    """
    names = [MANIFEST, *sorted(files.keys() - {MANIFEST})]
    total = sum(path.stat().st_size for path in files.values()) + len(files) * 512
    if len(names) > MOST_FILES or total > MOST_BYTES:
        raise InputError(
            "pack.too_large",
            f"{len(names)} files of {total:,} bytes; a packed bundle has at most {MOST_FILES} "
            f"files and {MOST_BYTES:,} bytes.",
            "Ship the directory instead.",
        )
    entries: list[tuple[Entry, int]] = []
    at = 0
    for name in names:
        header = local_header(name.encode(), 0, 0, at)
        out.write(header)
        begin = at + len(header)
        crc, size = _copy(files[name], out, name, hashes.get(name))
        out.seek(at)
        out.write(local_header(name.encode(), crc, size, at))
        out.seek(begin + size)
        entries.append((Entry(name, begin, size, crc), at))
        at = begin + size
    tail = directory(entries, at)
    out.write(tail)
    return at + len(tail)


def _copy(source: Path, out: BinaryIO, name: str, sha256: str | None) -> tuple[int, int]:
    """(CRC-32, size) of a file, after copying it."""
    crc, size, digest = 0, 0, hashlib.sha256()
    with source.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
            digest.update(chunk)
            out.write(chunk)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise BundleError("bundle.altered", f"{name} changed while it was packed.")
    return crc, size
