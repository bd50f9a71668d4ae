"""Compressed weights (constexpr_*) and quantised activations.

The formulas are those of the op definitions in coremltools (iOS16/constexpr_ops.py,
iOS17/quantization_ops.py, iOS18/compression.py).
"""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()


def _along(values: np.ndarray, x: np.ndarray, axis: np.ndarray | None) -> np.ndarray:
    """A scalar unchanged, a vector [n] reshaped to broadcast along `axis` of x."""
    if values.ndim == 0 or axis is None:
        return values
    shape = [1] * x.ndim
    shape[int(axis)] = -1
    return values.reshape(shape)


@OPS()
def quantize(
    input: np.ndarray,
    scale: np.ndarray,
    output_dtype: str,
    zero_point: np.ndarray | None = None,
    axis: np.ndarray | None = None,
) -> np.ndarray:
    """clip(round(input / scale) + zero_point), halves to even."""
    levels = np.rint(input / _along(scale, input, axis))
    if zero_point is not None:
        levels += _along(zero_point, input, axis)
    bounds = np.iinfo(output_dtype)
    return np.clip(levels, bounds.min, bounds.max)


@OPS()
def dequantize(
    input: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray | None = None,
    axis: np.ndarray | None = None,
) -> np.ndarray:
    """(input - zero_point) * scale."""
    levels = input.astype(np.float32)
    if zero_point is not None:
        levels -= _along(zero_point, input, axis)
    return levels * _along(scale, input, axis)


@OPS()
def constexpr_affine_dequantize(
    quantized_data: np.ndarray, zero_point: np.ndarray, scale: np.ndarray, axis: np.ndarray
) -> np.ndarray:
    return dequantize(quantized_data, scale, zero_point, axis)


@OPS()
def constexpr_blockwise_shift_scale(
    data: np.ndarray, scale: np.ndarray, offset: np.ndarray | None = None
) -> np.ndarray:
    """scale * (data - offset), one scale and offset for each block of data."""
    levels = data.astype(np.float32)
    if offset is not None:
        levels -= _blocks(offset, data.shape)
    levels *= _blocks(scale, data.shape)
    return levels


def _blocks(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values repeated over their blocks; axes of size 1 broadcast."""
    for axis, (few, many) in enumerate(zip(values.shape, shape, strict=True)):
        if many % few:
            raise ValueError(f"{few} blocks do not divide {many}")
        if few not in (1, many):
            values = np.repeat(values, many // few, axis)
    return values


@OPS(exact=True)
def constexpr_lut_to_dense(
    indices: np.ndarray,
    lut: np.ndarray,
    shape: np.ndarray | None = None,
    vector_axis: np.ndarray | None = None,
) -> np.ndarray:
    """Indices into lookup tables. With `shape` (iOS 16) they are packed bits of one table [n].

    From iOS 18 on: indices [d0,d1,…], tables [g0,g1,…,n,v], one per block of the indices; vectors
    of v > 1 values extend along `vector_axis`.
    """
    if shape is not None:
        bits = len(lut).bit_length() - 1
        if len(lut) != 1 << bits:
            raise ValueError(f"a table has {len(lut)} values, which is not a power of two")
        flags = _flags(indices, shape, bits).reshape(-1, bits)
        return lut[flags @ (1 << np.arange(bits, dtype=np.uint8))].reshape(shape.tolist())
    groups: tuple = np.indices(indices.shape, sparse=True)
    places = [
        each // (many // few)
        for each, many, few in zip(groups, indices.shape, lut.shape, strict=False)
    ]
    vectors = lut[(*places, indices.astype(np.int64))]  # [d0,d1,…,v]
    if vectors.shape[-1] == 1:
        return vectors[..., 0]
    if vector_axis is None:
        raise ValueError("vectors need a vector_axis")
    axis = int(vector_axis) % indices.ndim
    moved = np.moveaxis(vectors, -1, axis + 1)  # [d0,…,d_axis,v,…]
    sizes = list(indices.shape)
    sizes[axis] = -1
    return moved.reshape(sizes)


def _flags(packed: np.ndarray, shape: np.ndarray, bits: int) -> np.ndarray:
    """Unpacked bits, uint8 [prod(shape) * bits]; ValueError if `packed` has another size.

    NumPy would read missing bits as zeros.
    """
    count = math.prod(shape.tolist()) * bits
    if packed.size != -(-count // 8):
        raise ValueError(f"{packed.size} bytes do not hold {count} bits")
    return np.unpackbits(packed, bitorder="little", count=count)


@OPS(exact=True)
def constexpr_sparse_to_dense(
    nonzero_data: np.ndarray, mask: np.ndarray, shape: np.ndarray | None = None
) -> np.ndarray:
    """Zero where the mask is 0. With `shape` (iOS 16) the mask is packed bits."""
    if shape is not None:
        mask = _flags(mask, shape, 1).reshape(shape.tolist())
    out = np.zeros(mask.shape, nonzero_data.dtype)
    out[mask != 0] = nonzero_data
    return out


@OPS()
def constexpr_cast(source_val: np.ndarray, output_dtype: str) -> np.ndarray:
    return source_val
