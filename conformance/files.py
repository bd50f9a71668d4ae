"""Vectors as files: JSON a person can read, and bytes beside it where JSON would be long.

A vector file is one JSON object whose lists hold one case to a line. Bytes lie in `<topic>.bin`; a
case names them by `"at"` (offset) and its own sizes. Bytes that are too many to keep have
their CRC-32 instead.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.core.typed import parse


class Topic:
    """The files of one topic while they are made."""

    def __init__(self, name: str, **values: Any) -> None:
        self.name, self._values = name, values
        self._bytes = bytearray()

    def keep(self, array: np.ndarray) -> dict[str, int]:
        """Where the bytes of an array lie, and their CRC-32."""
        data = np.ascontiguousarray(array).tobytes()
        at = len(self._bytes)
        self._bytes += data
        return {"at": at, "crc32": zlib.crc32(data)}

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        lines = []
        for name, value in self._values.items():
            if isinstance(value, list) and value:
                inner = ",\n".join("  " + _compact(item) for item in value)
                lines.append(f" {_compact(name)}: [\n{inner}\n ]")
            else:
                lines.append(f" {_compact(name)}: {_compact(value)}")
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        made = {f"{self.name}.json": text.encode("utf-8")}
        if self._bytes:
            made[f"{self.name}.bin"] = bytes(self._bytes)
        return made


def noise(width: int, height: int, channels: int, seed: int) -> np.ndarray:
    """The source image of a case, uint8 [height,width,channels], from its seed alone.

    Row by row: x = (x * 1664525 + 1013904223) mod 2^32 from x = seed, each value x >> 24.
    """
    values = np.empty(width * height * channels, np.uint8)
    x = seed
    for i in range(len(values)):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = x >> 24
    return values.reshape(height, width, channels)


def crc32(array: np.ndarray) -> int:
    """CRC-32 (zlib) of the bytes of an array in C order."""
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def code_of(read: Callable[[Any], Any], text: str) -> str | None:
    """The code that a reader of parsed JSON refuses a text with; None: it is accepted."""
    try:
        read(parse(text.encode(), "file"))
    except BundleError as error:
        return error.code
    return None


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
