"""A small FlatBuffers reader: tables, vectors and strings, with every offset checked.

Encoding: https://flatbuffers.dev/internals. A table starts with the distance back to its vtable,
which holds the offset of each field, or 0 for an absent field.

Offsets may point anywhere, so a small file can refer to the same vector a million times. The reader
therefore stops once it has visited more bytes than a valid file of that size contains.
"""

from __future__ import annotations

import struct

MAX_VISITS = 4  # times that each byte of a file may be visited, on average
MAX_VISITED = 16 << 20  # bytes: the metadata of 100,000 tensors; weights are not read
_READERS = {letter: struct.Struct(f"<{letter}").unpack_from for letter in "?bBhHiIqQ"}
_WIDTHS = {letter: struct.calcsize(f"<{letter}") for letter in _READERS}


class FlatError(ValueError):
    """Bytes that are not a valid FlatBuffer; the message gives the reason and the byte."""


class Buffer:
    """A whole buffer, with the budget of bytes that may still be visited."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._left = min(MAX_VISITS * len(data), MAX_VISITED)
        # Tables of one kind share a vtable, so each is read once: the check opens every bundle.
        self._vtables: dict[int, tuple[int, int, tuple[int, ...]]] = {}

    def unpack(self, letter: str, at: int) -> int:
        """One little-endian number, by its format letter in `struct`."""
        try:
            value: int = _READERS[letter](self.data, at)[0]
        except struct.error:
            raise FlatError(f"byte {at} is outside the file") from None
        return value

    def follow(self, at: int) -> int:
        """The position that the offset at `at` points to."""
        return at + self.unpack("I", at)

    def span(self, at: int, width: int) -> tuple[int, int]:
        """(first byte, length) of a vector whose elements take `width` bytes."""
        length = self.unpack("I", at)
        if at + 4 + length * width > len(self.data):
            raise FlatError(f"{length} entries at byte {at} end outside the file")
        return at + 4, length

    def spend(self, bytes_: int) -> None:
        """Count visited bytes; FlatError when the budget is exceeded."""
        self._left -= bytes_
        if self._left < 0:
            raise FlatError("its entries refer to each other too often for a valid model")

    def vtable(self, at: int) -> tuple[int, int, tuple[int, ...]]:
        """(bytes of the vtable, bytes of its tables, offset of each field in them)."""
        found = self._vtables.get(at)
        if found is None:
            length, size = self.unpack("H", at), self.unpack("H", at + 2)
            if length < 4 or length % 2 or at + length > len(self.data):
                raise FlatError(f"the vtable at byte {at} ends outside the file")
            offsets = struct.unpack_from(f"<{length // 2 - 2}H", self.data, at + 4)
            found = self._vtables[at] = (length, size, offsets)
        return found

    def root(self, identifier: bytes) -> Table:
        """The outermost table of a file with this identifier."""
        if bytes(self.data[4:8]) != identifier:
            raise FlatError(f"bytes 4 to 7 are not {identifier.decode()}")
        return Table(self, self.follow(0))


class Table:
    """One table; `field` is the number of a field, counted from 0 in its schema."""

    __slots__ = ("_offsets", "at", "buffer")

    def __init__(self, buffer: Buffer, at: int) -> None:
        self.buffer, self.at = buffer, at
        self._offsets: tuple[int, ...] | None = None

    def _vtable(self) -> tuple[int, int, tuple[int, ...]]:
        vtable = self.at - self.buffer.unpack("i", self.at)
        if vtable < 0:
            raise FlatError(f"the table at byte {self.at} has its fields outside the file")
        return self.buffer.vtable(vtable)

    def _place(self, field: int) -> int:
        """The position of a field; 0 if it is absent."""
        offsets = self._offsets
        if offsets is None:
            offsets = self._offsets = self._vtable()[2]
        offset = offsets[field] if field < len(offsets) else 0
        return self.at + offset if offset else 0

    def number(self, field: int, letter: str, default: int = 0) -> int:
        place = self._place(field)
        return self.buffer.unpack(letter, place) if place else default

    def numbers(self, field: int, letter: str) -> list[int]:
        width = _WIDTHS[letter]
        first, length = self._vector(field, width)
        if not length:
            return []
        self.buffer.spend(length * width)
        return list(struct.unpack_from(f"<{length}{letter}", self.buffer.data, first))

    def bytes(self, field: int) -> memoryview:
        first, length = self._vector(field, 1)
        return self.buffer.data[first : first + length]

    def text(self, field: int) -> str:
        data = self.bytes(field)
        self.buffer.spend(len(data))
        return str(data, "utf-8", "replace")

    def tables(self, field: int) -> list[Table]:
        first, length = self._vector(field, 4)
        self.buffer.spend(4 * length)
        places = range(first, first + 4 * length, 4)
        return [Table(self.buffer, self.buffer.follow(place)) for place in places]

    def table(self, field: int) -> Table | None:
        """The table that a field refers to, checked; None if the field is absent."""
        place = self._place(field)
        return Table(self.buffer, self.buffer.follow(place)).checked() if place else None

    def vector(self, field: int, width: int) -> int:
        """The length of a vector, checked to be inside the file; its elements are not read."""
        return self._vector(field, width)[1]

    def string(self, field: int) -> None:
        """Raise FlatError unless a string is inside the file and ends with a zero byte."""
        if self._place(field):
            first, length = self._vector(field, 1)
            if self.buffer.unpack("B", first + length):
                raise FlatError(f"the string at byte {first} is not terminated")

    def checked(self) -> Table:
        """This table; FlatError unless all its fields are inside the file."""
        length, size, offsets = self._vtable()
        if size < 4 or self.at + size > len(self.buffer.data):
            raise FlatError(f"the table at byte {self.at} ends outside the file")
        self.buffer.spend(length)
        if offsets and max(offsets) >= size:
            raise FlatError(f"the table at byte {self.at} has a field outside itself")
        self._offsets = offsets
        return self

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        place = self._place(field)
        return self.buffer.span(self.buffer.follow(place), width) if place else (0, 0)
