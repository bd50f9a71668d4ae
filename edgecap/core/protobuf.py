"""A small reader of protobuf's wire format, driven by tables that read like .proto files.

CoreML and ONNX models are protobuf messages; the runtime reads the parts it needs without the
protobuf package. A schema names the fields of each message; other fields are skipped:

    SCHEMA = schema({
        "Node": {1: "string name", 2: "repeated Node children", 3: "map<string, int64> sizes"},
    })
    node = decode(data, SCHEMA["Node"])
    node["name"], node["children"][0]["sizes"]

"unread" instead of "repeated" keeps the raw bytes of a field, to test its presence only: decoded to
Python numbers it would be many times as large.

Encoding: https://protobuf.dev/programming-guides/encoding. Supported kinds: int32, int64, uint32,
uint64, enum, bool, float, double, string, bytes, and messages; groups and zigzag kinds are not.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 100  # protobuf's own limit of nested messages
MAX_MESSAGES = 1_000_000  # about 400 MB of Python objects; edgecap's files have 1 % of that

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """Bytes that are not a message of the schema; the text gives the reason and the byte."""


@dataclass
class Message:
    """One kind of message: its fields by number."""

    name: str
    fields: dict[int, Field] = field(default_factory=dict)
    defaults: dict[str, Callable[[], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Field:
    """One field; `kind` is a scalar's name or a message. A map is a repeated entry message."""

    name: str
    kind: str | Message
    repeated: bool
    is_map: bool
    unread: bool = False  # repeated, and kept as raw bytes


class Record(dict[str, Any]):
    """A decoded message. `in` tests the presence of a field; absent fields read as their default.

    Defaults: 0, False, "", b"", None for a message, [] for repeated fields, {} for maps. `bytes`
    are memoryviews into the input: nothing is copied.
    """

    def __init__(self, message: Message) -> None:
        self.message = message

    def __missing__(self, name: str) -> Any:
        return self.message.defaults[name]()


def schema(tables: Mapping[str, Mapping[int, str]]) -> dict[str, Message]:
    """Messages by name, from fields written as in .proto files, keyed by number."""
    messages = {name: Message(name) for name in tables}
    for name, table in tables.items():
        for number, text in table.items():
            messages[name].fields[number] = _field(text, messages)
        _set_defaults(messages[name])
    return messages


def decode(data: bytes | memoryview, message: Message) -> Record:
    """Decode one message that fills `data`; raises WireError for invalid bytes."""
    view = memoryview(data).cast("B")
    record = Record(message)
    _Reader(view).read(0, len(view), record, 0)
    return record


_SCALARS: dict[str, tuple[int, Callable[[], Any]]] = {  # kind -> wire type, default
    **dict.fromkeys(("int32", "int64", "uint32", "uint64", "enum"), (_VARINT, int)),
    "bool": (_VARINT, bool),
    "double": (_FIXED64, float),
    "float": (_FIXED32, float),
    "string": (_BYTES, str),
    "bytes": (_BYTES, bytes),
}
_PACKABLE = {kind for kind, (wire, _) in _SCALARS.items() if wire != _BYTES}


def _field(text: str, messages: Mapping[str, Message]) -> Field:
    found = re.fullmatch(r"(repeated |unread )?(?:(\w+)|map<(\w+), (\w+)>) (\w+)", text)
    if found is None:
        raise ValueError(f"not a field: {text!r}")
    repeated, kind, key, value, name = found.groups()
    if kind is None:
        entry = Message(f"map<{key}, {value}>")
        entry.fields = {1: _field(f"{key} key", messages), 2: _field(f"{value} value", messages)}
        _set_defaults(entry)
        return Field(name, entry, False, True)
    of = kind if kind in _SCALARS else messages[kind]
    return Field(name, of, bool(repeated), False, unread=repeated == "unread ")


def _set_defaults(message: Message) -> None:
    for each in message.fields.values():
        if each.is_map:
            default: Callable[[], Any] = dict
        elif each.repeated:
            default = list
        elif isinstance(each.kind, Message):
            default = type(None)
        else:
            default = _SCALARS[each.kind][1]
        message.defaults[each.name] = default


class _Reader:
    """Reads the messages of one input, up to MAX_MESSAGES."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._left = MAX_MESSAGES

    def read(self, at: int, end: int, record: Record, depth: int) -> None:
        """Fields of [at:end] into `record`; later ones overwrite or, as messages, merge."""
        if depth > MAX_DEPTH:
            raise WireError(f"messages nest deeper than {MAX_DEPTH} at byte {at}")
        self._left -= 1
        if self._left < 0:
            raise WireError(f"it holds more than {MAX_MESSAGES:,} messages")
        view, fields = self._view, record.message.fields
        while at < end:
            tag, at = _varint(view, at, end)
            number, wire = tag >> 3, tag & 7
            if number == 0 or number >= 1 << 29:
                raise WireError(f"field number {number} at byte {at}")
            known = fields.get(number)
            if wire == _BYTES:
                size, at = _varint(view, at, end)
                stop = at + size
            elif wire == _VARINT:
                value, stop = _varint(view, at, end)
            elif wire in (_FIXED32, _FIXED64):
                stop = at + (4 if wire == _FIXED32 else 8)
            else:
                raise WireError(f"wire type {wire} of field {number} at byte {at}")
            if stop > end:
                raise WireError(
                    f"field {number} at byte {at} ends {stop - end} bytes after the end"
                )
            if known is None:
                pass
            elif known.unread:
                _keep(record, known, view[at:stop])
            elif wire == _VARINT:
                _keep(record, known, _from_varint(_scalar(known, _VARINT, stop), value))
            elif wire != _BYTES:
                _keep(record, known, _unpack(_scalar(known, wire, at), view[at:stop])[0])
            elif isinstance(known.kind, Message):
                self._read_message(at, stop, record, known, known.kind, depth)
            elif known.kind in _PACKABLE:
                if not known.repeated:
                    raise WireError(f"{known.name} at byte {at} is not a {known.kind}")
                record.setdefault(known.name, []).extend(_unpack(known.kind, view[at:stop]))
            else:
                _keep(record, known, _text_or_bytes(known, view[at:stop], at))
            at = stop

    def _read_message(
        self, at: int, stop: int, record: Record, known: Field, kind: Message, depth: int
    ) -> None:
        merged = None if known.repeated or known.is_map else record.get(known.name)
        child = Record(kind) if merged is None else merged
        self.read(at, stop, child, depth + 1)
        if known.is_map:
            value = child["value"]
            of = kind.fields[2].kind
            record.setdefault(known.name, {})[child["key"]] = (
                Record(of) if value is None and isinstance(of, Message) else value
            )
        else:
            _keep(record, known, child)


def _keep(record: Record, known: Field, value: Any) -> None:
    if known.repeated:
        record.setdefault(known.name, []).append(value)
    else:
        record[known.name] = value


def _scalar(known: Field, wire: int, at: int) -> str:
    """The kind of a field, checked against its wire type; WireError if they do not match."""
    if isinstance(known.kind, Message) or _SCALARS[known.kind][0] != wire:
        raise WireError(f"{known.name} before byte {at} has wire type {wire}")
    return known.kind


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """(value below 2^64, the byte after it)."""
    value = shift = 0
    while at < end:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift == 70:
            raise WireError(f"a number of more than ten bytes ends at byte {at}")
    raise WireError(f"the data ends within a number, at byte {end}")


def _from_varint(kind: str, value: int) -> int | bool:
    if kind == "bool":
        return value != 0
    if kind == "uint64":
        return value
    if kind == "uint32":
        return value & 0xFFFF_FFFF
    if kind == "int64":
        return value - (1 << 64) if value >> 63 else value
    value &= 0xFFFF_FFFF  # int32 and enum: negative values take ten bytes
    return value - (1 << 32) if value >> 31 else value


def _unpack(kind: str, view: memoryview) -> list[Any]:
    """Decode packed scalars."""
    if kind in ("float", "double"):
        width, letter = (4, "f") if kind == "float" else (8, "d")
        if len(view) % width:
            raise WireError(f"{len(view)} bytes are not a whole number of {kind}s")
        return list(struct.unpack(f"<{len(view) // width}{letter}", view))
    values, at = [], 0
    while at < len(view):
        value, at = _varint(view, at, len(view))
        values.append(_from_varint(kind, value))
    return values


def _text_or_bytes(known: Field, view: memoryview, at: int) -> str | memoryview:
    if known.kind == "bytes":
        return view
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"{known.name} at byte {at} is not UTF-8") from error
