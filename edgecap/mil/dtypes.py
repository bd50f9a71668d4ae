"""The element types of MIL: how each is stored, and what it is computed in.

Codes: DataType of MIL.proto and BlobDataType of MILBlob's StorageFormat.hpp (apple/coremltools,
mlmodel/src/MILBlob), the latter verified with coremltools' own blob writer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dtype:
    """One element type.

    `stored` is the dtype of arrays read from a file, `computed` that of the evaluator's arrays:
    fp16 values are kept in float32 arrays, rounded to fp16 (see rounding.py).
    """

    name: str
    code: int  # in MIL.proto
    bits: int
    stored: np.dtype
    computed: np.dtype
    blob: int | None  # code in a weight file; None if weight files cannot hold it


def _dtype(name: str, code: int, bits: int, stored: str, blob: int | None = None) -> Dtype:
    computed = "float32" if name == "fp16" else stored
    return Dtype(name, code, bits, np.dtype(stored), np.dtype(computed), blob)


_ALL = (
    _dtype("bool", 1, 8, "bool"),
    _dtype("fp16", 10, 16, "<f2", 1),
    _dtype("fp32", 11, 32, "<f4", 2),
    _dtype("fp64", 12, 64, "<f8"),
    _dtype("int8", 21, 8, "int8", 4),
    _dtype("int16", 22, 16, "<i2", 6),
    _dtype("int32", 23, 32, "<i4", 14),
    _dtype("int64", 24, 64, "<i8"),
    _dtype("int4", 25, 4, "int8", 8),
    _dtype("uint8", 31, 8, "uint8", 3),
    _dtype("uint16", 32, 16, "<u2", 7),
    _dtype("uint32", 33, 32, "<u4", 15),
    _dtype("uint64", 34, 64, "<u8"),
    _dtype("uint4", 35, 4, "uint8", 11),
    _dtype("uint2", 36, 2, "uint8", 10),
    _dtype("uint1", 37, 1, "uint8", 9),
    _dtype("uint6", 38, 6, "uint8", 13),
    _dtype("uint3", 39, 3, "uint8", 12),
)
BY_NAME = {dtype.name: dtype for dtype in _ALL}
BY_CODE = {dtype.code: dtype for dtype in _ALL}
STRING = 2  # of MIL.proto; strings are parameters, never tensors


def unpack(data: np.ndarray, dtype: Dtype, count: int) -> np.ndarray:
    """`count` elements from bytes uint8 [n], as dtype.stored [count]; a view where possible.

    Elements narrower than a byte follow each other from the lowest bit up, across bytes.
    """
    if dtype.bits >= 8:
        return data.view(dtype.stored)
    bits = np.unpackbits(data, bitorder="little", count=count * dtype.bits)
    parts = bits.reshape(count, dtype.bits)  # [count,bits], lowest first
    if dtype.name == "int4":  # two's complement: the highest bit counts -8
        return parts.astype(np.int8) @ np.array([1, 2, 4, -8], np.int8)
    return parts @ (1 << np.arange(dtype.bits)).astype(np.uint8)


def packed_size(dtype: Dtype, count: int) -> int:
    """The bytes that `count` elements take."""
    return -(-count * dtype.bits // 8)
