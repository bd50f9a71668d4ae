"""Packed bundles, good and bad: archives as bytes, and what a reader finds or how it refuses."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from files import Topic

from edgecap.bundle.container import Entry, directory, local_header, read_entries, write_container
from edgecap.core.errors import BundleError

FILES = {"manifest.json": b"{}\n", "a/weights.bin": bytes(range(130)), "model.onnx": b"model"}
END = 22  # bytes of the end record
# Places in a header of a file in front of its bytes, and in its record in the directory.
LOCAL = {"flags": 6, "method": 8, "crc": 14, "size": 22, "name": 30}
CENTRAL = {"flags": 8, "method": 10, "date": 14, "crc": 16, "stored": 20, "size": 24, "extra": 30}
CENTRAL |= {"comment": 32, "disk": 34, "mode": 38, "offset": 42, "name": 46}


def archive(files: list[tuple[str, bytes]]) -> bytes:
    """An archive of files as they come; names and order need not be allowed."""
    out, entries = bytearray(), []
    for name, data in files:
        header = local_header(name.encode(), zlib.crc32(data), len(data), len(out))
        entry = Entry(name, len(out) + len(header), len(data), zlib.crc32(data))
        entries.append((entry, len(out)))
        out += header + data
    return bytes(out + directory(entries, len(out)))


def packed(files: dict[str, bytes]) -> bytes:
    """What `edgecap pack` makes of files."""
    with TemporaryDirectory() as folder:
        paths = {}
        for name, data in files.items():
            paths[name] = Path(folder, name)
            paths[name].parent.mkdir(exist_ok=True)
            paths[name].write_bytes(data)
        out = io.BytesIO()
        write_container(out, paths, {})
    return out.getvalue()


def changed(data: bytes, *patches: tuple[int, bytes]) -> bytes:
    out = bytearray(data)
    for at, new in patches:
        out[at : at + len(new)] = new
    return bytes(out)


def cases() -> Iterator[tuple[str, bytes, str | None]]:
    """(what, bytes, code of the refusal or None)."""
    base = packed(FILES)
    central = struct.unpack_from("<I", base, len(base) - 6)[0]
    first = [0, *(e.offset + e.size for e in read_entries(memoryview(base), "base"))][:3]
    records, at = [], central
    for name in ("manifest.json", "a/weights.bin", "model.onnx"):
        records.append(at)
        at += CENTRAL["name"] + len(name)
    manifest = [("manifest.json", b"{}\n")]

    def in_both(local: str, record: str, value: bytes) -> bytes:
        return changed(
            base, (first[1] + LOCAL[local], value), (records[1] + CENTRAL[record], value)
        )

    def in_record(field: str, value: bytes, which: int = 1) -> bytes:
        return changed(base, (records[which] + CENTRAL[field], value))

    def renamed(name: str) -> bytes:
        return archive([*manifest, (name, b"x")])

    yield "three files", base, None
    yield "a manifest alone", packed({"manifest.json": b"{}"}), None
    yield "an empty file", packed({"manifest.json": b"{}", "a": b""}), None
    yield "names in order of their bytes", archive([*manifest, ("B", b"1"), ("a", b"2")]), None
    refused = {
        "nothing": b"",
        "fewer bytes than an end record": base[-END + 1 :],
        "no zip archive": b"\x00" * 64,
        "an end record alone": changed(base[-END:], (8, bytes(12))),
        "the last byte is missing": base[:-1],
        "half of it is missing": base[: len(base) // 2],
        "a byte follows": base + b"\0",
        "a byte stands in front": b"\0" + base,
        "a comment": changed(base, (len(base) - 2, b"\x01\0")) + b"c",
        "two disks": changed(base, (len(base) - END + 4, b"\x01\0")),
        "more files counted than there are": changed(
            base, (len(base) - END + 8, struct.pack("<2H", 4, 4))
        ),
        "fewer files counted than there are": changed(
            base, (len(base) - END + 8, struct.pack("<2H", 2, 2))
        ),
        "counts that differ": changed(base, (len(base) - END + 8, struct.pack("<2H", 3, 2))),
        "the directory begins elsewhere": changed(
            base, (len(base) - 6, struct.pack("<I", central + 1))
        ),
        "the directory is longer than it is": changed(
            base, (len(base) - 10, struct.pack("<I", 0xFFFFFFFF))
        ),
        "a file is encrypted": in_both("flags", "flags", b"\x01\0"),
        "a file is compressed": in_both("method", "method", b"\x08\0"),
        "a file would expand": in_record("size", struct.pack("<I", 1 << 30)),
        "a size that differs in front of the file": changed(
            base, (first[1] + LOCAL["size"], b"\x83")
        ),
        "a CRC-32 that differs in front of the file": changed(
            base, (first[1] + LOCAL["crc"], b"\x00")
        ),
        "a name that differs in front of the file": changed(base, (first[1] + LOCAL["name"], b"b")),
        "a link": in_record("mode", struct.pack("<I", 0o120777 << 16)),
        "a directory": in_record("mode", struct.pack("<I", 0o040755 << 16)),
        "a date": in_record("date", b"\x22\0"),
        "an extra field in the directory": in_record("extra", b"\x04\0"),
        "a comment of a file": in_record("comment", b"\x01\0"),
        "a file on another disk": in_record("disk", b"\x01\0"),
        "two files in one place": in_record("offset", struct.pack("<I", 0)),
        "a file that begins inside another": in_record("offset", struct.pack("<I", 64), 2),
        "a file that ends behind the directory": changed(
            base,
            *((first[2] + at, struct.pack("<I", 500)) for at in (18, 22)),
            *((records[2] + CENTRAL[f], struct.pack("<I", 500)) for f in ("stored", "size")),
        ),
        "padding that is not zero": changed(base, (first[1] + 30 + 13 + 6, b"\x01")),
        "a file twice": archive([*manifest, ("a", b"1"), ("a", b"2")]),
        "files out of order": archive([*manifest, ("b", b"1"), ("a", b"2")]),
        "no manifest": archive([("a", b"1")]),
        "the manifest is not the first": archive([("a", b"1"), *manifest]),
        "a null byte in the name of the manifest": archive([("manifest.json\0", b"{}")]),
        "bytes between two files": _gap(),
    }
    for what, data in refused.items():
        yield what, data, "bundle.container"
    names = [
        "../a",
        "a/../b",
        "/a",
        "a/",
        "./a",
        "a//b",
        ".a",
        "-a",
        "a\\b",
        "a:b",
        "a b",
        "a\0b",
        "manifest.json",
    ]
    for name in [*names, "ä", "a" * 101, "a/b/c/d/e/f"]:
        yield f"the name {name[:12]!r}", renamed(name), "bundle.path"
    yield "the manifest is damaged", changed(base, (64, b"[")), "bundle.altered"


def _gap() -> bytes:
    """Two files with 64 bytes that belong to none between them."""
    data = [(n, FILES[n]) for n in ("manifest.json", "model.onnx")]
    out, entries = bytearray(), []
    for name, content in data:
        out += b"\0" * (64 * bool(out))
        header = local_header(name.encode(), zlib.crc32(content), len(content), len(out))
        entry = Entry(name, len(out) + len(header), len(content), zlib.crc32(content))
        entries.append((entry, len(out)))
        out += header + content
    return bytes(out + directory(entries, len(out)))


def containers() -> Topic:
    topic = Topic("containers", cases=(listed := []))
    for what, data, code in cases():
        found = None
        try:
            entries = read_entries(memoryview(data), "archive")
            if zlib.crc32(data[entries[0].offset :][: entries[0].size]) != entries[0].crc32:
                raise BundleError("bundle.altered", "")
            found = [[e.name, e.offset, e.size] for e in entries]
        except BundleError as error:
            assert error.code == code, (what, error)
        assert (found is None) == (code is not None), what
        place = topic.keep(np.frombuffer(data, np.uint8))
        listed.append({"what": what, **place, "length": len(data), "code": code, "files": found})
    return topic
