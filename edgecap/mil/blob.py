"""Weight files: memory-mapped arrays; every length is checked before the data are used.

A file starts with 64 bytes: count u32, version u32 = 2, reserved. A value's offset points at 64
bytes of metadata: sentinel 0xDEADBEEF u32, element type u32, size of the data in bytes u64, its
offset u64, unused bits at its end u64, reserved. All little-endian, all aligned to 64 bytes.
Source: MILBlob's StorageFormat.hpp (apple/coremltools, mlmodel/src/MILBlob/Blob).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.mil.dtypes import BY_NAME, packed_size, unpack
from edgecap.mil.mil import ValueType

ALIGNMENT = 64
_VERSION, _SENTINEL = 2, 0xDEADBEEF
_METADATA = struct.Struct("<IIQQQ")


class WeightFile:
    """One weight file, mapped read-only. Safe to read from several threads."""

    def __init__(self, path: Path, name: str) -> None:
        """Map `path`, called `name` in messages; BundleError if it is not a weight file."""
        self._name = name
        if not path.is_file():
            raise BundleError(
                "bundle.missing_file", f"the package's weight file {name} is missing."
            )
        self.size = path.stat().st_size
        if self.size < ALIGNMENT:
            raise BundleError(
                "bundle.truncated", f"{name} has {self.size} bytes, too few for a header."
            )
        self._bytes = np.memmap(path, np.uint8, mode="r")  # [size]
        version = struct.unpack_from("<I", self._bytes.data, 4)[0]
        if version != _VERSION:
            raise BundleError(
                "bundle.model",
                f"{name} is a weight file of version {version}; this edgecap reads {_VERSION}.",
            )

    def array(self, type_: ValueType, offset: int) -> np.ndarray:
        """The value of type `type_` whose metadata are at `offset`: dtype.stored, its shape.

        A read-only view of the file unless elements are smaller than a byte. Raises as `check`.
        """
        start, size = self.check(type_, offset)
        data = np.asarray(self._bytes[start : start + size])  # a plain array over the same map
        shape = [size for size in type_.shape if size is not None]
        return unpack(data, BY_NAME[type_.dtype], math.prod(shape)).reshape(shape)

    def check(self, type_: ValueType, offset: int) -> tuple[int, int]:
        """(first byte, number of bytes) of the value of type `type_` with metadata at `offset`.

        Raises BundleError: bundle.path for an offset outside the file, bundle.truncated for data
        that end outside it, bundle.model for invalid metadata or another type or size.
        """
        shape = [size for size in type_.shape if size is not None]
        if type_.kind != "tensor" or len(shape) != len(type_.shape) or type_.dtype not in BY_NAME:
            raise BundleError("bundle.model", f"{self._name} cannot hold a value {type_}.")
        if offset < ALIGNMENT or offset % ALIGNMENT or offset + ALIGNMENT > self.size:
            raise BundleError(
                "bundle.path",
                f"offset {offset} is outside {self._name}, which has {self.size} bytes, "
                f"or is not a multiple of {ALIGNMENT}.",
            )
        sentinel, code, size, start, _ = _METADATA.unpack_from(self._bytes.data, offset)
        if sentinel != _SENTINEL:
            raise BundleError("bundle.model", f"{self._name} holds no value at offset {offset}.")
        dtype = BY_NAME[type_.dtype]
        if code != dtype.blob or size != packed_size(dtype, math.prod(shape)):
            raise BundleError(
                "bundle.model",
                f"{self._name} holds {size} bytes of element type {code} at offset {offset}; "
                f"the program declares {type_}.",
            )
        if start + size > self.size:
            raise BundleError(
                "bundle.truncated",
                f"{self._name} has {self.size} bytes; the value at offset {offset} ends at "
                f"{start + size}.",
            )
        if start % dtype.stored.itemsize:
            raise BundleError("bundle.model", f"{self._name}: byte {start} is not aligned.")
        return start, size
