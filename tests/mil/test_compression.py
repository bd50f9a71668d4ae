"""Weight files, packed elements, compressed weights and quantised activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coremltools.libmilstoragepython import _BlobStorageWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from mil import close, convert, ct, evaluate, inferred, mb, normal, save, types

from edgecap.exporters.quiet import quiet
from edgecap.mil.blob import WeightFile
from edgecap.mil.dtypes import BY_NAME, packed_size, unpack
from edgecap.mil.mil import ValueType
from edgecap.mil.ops import compression, layout, resizing, sequence, windows
from edgecap.mil.program import Program

BITS = [name for name, dtype in BY_NAME.items() if dtype.bits < 8]
WRITERS = {name: f"write_{name}_data" for name, dtype in BY_NAME.items() if dtype.blob is not None}
WRITERS |= {"fp32": "write_float_data"}


def bounds(name: str) -> tuple[int, int]:
    bits = BY_NAME[name].bits
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if name[0] == "i" else (0, (1 << bits) - 1)


@pytest.mark.parametrize("count", [1, 7, 64, 65])
@pytest.mark.parametrize("name", WRITERS)
def test_it_reads_what_apples_writer_writes(tmp_path: Path, name: str, count: int) -> None:
    dtype = BY_NAME[name]
    rng = np.random.default_rng(count)
    if dtype.stored.kind == "f":
        values = rng.standard_normal(count).astype(dtype.stored)
    else:
        values = rng.integers(*bounds(name), count, endpoint=True).astype(dtype.stored)
    path = tmp_path / "weight.bin"
    writer = _BlobStorageWriter(str(path))
    write = getattr(writer, WRITERS[name])
    write(np.zeros(3, values.dtype).view(np.uint16) if name == "fp16" else values[:1])
    offset = write(values.view(np.uint16) if name == "fp16" else values)
    del writer
    found = WeightFile(path, "weight.bin").array(ValueType("tensor", name, (count,)), offset)
    np.testing.assert_array_equal(found, values)
    assert not found.flags.writeable or dtype.bits < 8


@given(st.sampled_from(BITS), st.data())
@settings(deadline=None)
def test_packed_elements_come_back(name: str, data: st.DataObject) -> None:
    dtype = BY_NAME[name]
    values = data.draw(st.lists(st.integers(*bounds(name)), max_size=40))
    bits = [value >> i & 1 for value in values for i in range(dtype.bits)]
    packed = np.packbits(np.array(bits, np.uint8), bitorder="little")
    assert len(packed) == packed_size(dtype, len(values))
    assert unpack(packed, dtype, len(values)).tolist() == values


def materialised(build: Any) -> np.ndarray:
    """What coremltools decompresses a constexpr operation to."""
    found = []

    def body(x: Any) -> Any:
        found.append(build().op.materialized_val_inference())
        return mb.identity(x=x)

    with quiet():
        specs = [mb.TensorSpec(shape=(1,))]
        mb.program(input_specs=specs, opset_version=ct.target.iOS18)(body)
    return np.asarray(found[0])


def weights() -> dict[str, Any]:
    """Compressed constants, each made when asked for, inside a program."""
    rng = np.random.default_rng(0)
    int8 = rng.integers(-128, 128, (4, 6)).astype(np.int8)
    int4 = rng.integers(-8, 8, (4, 6)).astype(types.np_int4_dtype)
    uint4 = rng.integers(0, 16, (4, 6)).astype(types.np_uint4_dtype)
    uint3 = rng.integers(0, 8, (4, 6)).astype(types.np_uint3_dtype)
    uint1 = rng.integers(0, 2, (4, 6)).astype(types.np_uint1_dtype)
    scale, few = normal(4, 1), normal(4, 3, seed=1)
    offset = rng.integers(0, 8, (4, 3)).astype(types.np_uint4_dtype)
    lut = normal(2, 1, 8, 1)
    vectors = normal(1, 1, 2, 3)
    dense = np.where(uint1.astype(bool), normal(4, 6), 0)
    return {
        "shift_scale int8": lambda: mb.constexpr_blockwise_shift_scale(data=int8, scale=scale),
        "shift_scale int4": lambda: mb.constexpr_blockwise_shift_scale(data=int4, scale=scale),
        "shift_scale blocks": lambda: mb.constexpr_blockwise_shift_scale(
            data=uint4, scale=few, offset=offset
        ),
        "lut groups": lambda: mb.constexpr_lut_to_dense(indices=uint3, lut=lut),
        "lut vectors": lambda: mb.constexpr_lut_to_dense(
            indices=uint1, lut=vectors, vector_axis=-1
        ),
        "lut vectors first": lambda: mb.constexpr_lut_to_dense(
            indices=uint1, lut=vectors, vector_axis=0
        ),
        "sparse": lambda: mb.constexpr_sparse_to_dense(
            nonzero_data=dense[dense != 0].astype(np.float32),
            mask=(dense != 0).astype(types.np_uint1_dtype),
        ),
    }


@pytest.mark.parametrize("name", weights())
def test_compressed_constants(name: str) -> None:
    build = weights()[name]
    wanted = materialised(build)
    x = normal(*wanted.shape)
    (found,) = evaluate(lambda a: mb.add(x=a, y=build()), x)
    close(found, wanted + x)


def old_weights() -> dict[str, Any]:
    """The same for iOS 16, where what is packed is packed by hand."""
    rng = np.random.default_rng(0)
    uint8 = rng.integers(0, 256, (4, 6)).astype(np.uint8)
    flags = rng.integers(0, 2, 24).astype(np.uint8)
    shape = np.array([4, 6], np.uint32)
    indices = np.packbits(rng.integers(0, 2, 48).astype(np.uint8), bitorder="little")
    return {
        "affine": lambda: mb.constexpr_affine_dequantize(
            quantized_data=uint8,
            zero_point=np.arange(4, dtype=np.uint8),
            scale=np.abs(normal(4)),
            axis=0,
        ),
        "affine scalar": lambda: mb.constexpr_affine_dequantize(
            quantized_data=uint8, zero_point=np.uint8(7), scale=np.float32(0.1), axis=1
        ),
        "lut": lambda: mb.constexpr_lut_to_dense(indices=indices, lut=normal(4), shape=shape),
        "sparse": lambda: mb.constexpr_sparse_to_dense(
            nonzero_data=normal(int(flags.sum())),
            mask=np.packbits(flags, bitorder="little"),
            shape=shape,
        ),
        "cast": lambda: mb.constexpr_cast(source_val=normal(4, 6, half=True), output_dtype="fp32"),
    }


@pytest.mark.parametrize("name", old_weights())
def test_compressed_constants_of_ios16(name: str) -> None:
    found = []

    def build(a: Any) -> Any:
        constant = old_weights()[name]()
        found.append(constant.op.materialized_val_inference())
        return mb.add(x=a, y=constant)

    x = normal(4, 6)
    (result,) = evaluate(build, x, target=ct.target.iOS16)
    close(result, found[-1] + x)


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_quantised_activations(half: bool, kind: str) -> None:
    x = normal(3, 4, half=half) * 30
    few, zero = np.abs(normal(3, half=half)) + np.array(0.1, x.dtype), np.arange(3)

    def build(a: Any) -> list[Any]:
        vectors = {"scale": few, "zero_point": zero.astype(kind), "axis": 0}
        by_row = mb.quantize(input=a, output_dtype=kind, **vectors)
        whole = mb.quantize(input=a, output_dtype=kind, scale=x.dtype.type(0.25))
        return [
            mb.cast(x=by_row, dtype="int32"),
            mb.dequantize(input=by_row, **vectors),
            mb.dequantize(input=whole, scale=x.dtype.type(0.25)),
        ]

    low, high = (-128, 127) if kind == "int8" else (0, 255)
    tensor = torch.from_numpy(x.astype(np.float32))
    rows = torch.from_numpy(few.astype(np.float32))
    found, by_row, whole = evaluate(build, x)
    levels = torch.fake_quantize_per_channel_affine(
        tensor, rows, torch.from_numpy(zero).int(), 0, low, high
    )
    close(by_row, levels, units=2)
    close(found, (levels / rows[:, None] + torch.from_numpy(zero)[:, None]).round().int())
    close(whole, torch.fake_quantize_per_tensor_affine(tensor, 0.25, 0, low, high), units=2)


def test_every_operation_here_is_tested() -> None:
    assert compression.OPS.keys() == {
        "quantize",
        "dequantize",
        "constexpr_affine_dequantize",
        "constexpr_blockwise_shift_scale",
        "constexpr_lut_to_dense",
        "constexpr_sparse_to_dense",
        "constexpr_cast",
    }


class TwoLayers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(64, 48), torch.nn.Linear(48, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize(
    ("way", "half"),
    [("int8", False), ("int8", True), ("int4 blocks", True), ("palettes", True), ("pruned", False)],
)
def test_models_that_coremltools_compressed(tmp_path: Path, way: str, half: bool) -> None:
    """The compressed model equals the one that coremltools decompressed again."""
    from coremltools.optimize import coreml as opt

    with quiet():
        plain = convert(TwoLayers(), [torch.zeros(2, 64)], half)
        configs = {
            "int8": opt.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0),
            "int4 blocks": opt.OpLinearQuantizerConfig(
                mode="linear",
                dtype="uint4",
                granularity="per_block",
                block_size=16,
                weight_threshold=0,
            ),
            "palettes": opt.OpPalettizerConfig(mode="uniform", nbits=3, weight_threshold=0),
            "pruned": opt.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=0),
        }
        config = opt.OptimizationConfig(global_config=configs[way])
        compress = {
            "palettes": opt.palettize_weights,
            "pruned": opt.prune_weights,
        }.get(way, opt.linear_quantize_weights)
        small = compress(plain, config)
        again = opt.decompress_weights(small)
    x = {"x": normal(2, 64)}
    results = {}
    for name, model in (("plain", plain), ("small", small), ("again", again)):
        function = Program.open(save(model, tmp_path / f"{name}.mlpackage")).function()
        (results[name],) = function.run(x).values()
    close(results["small"], results["again"], units=4 if not half else 32)
    assert not np.allclose(results["small"], results["plain"], atol=1e-5)
    sizes = [
        (tmp_path / f"{name}.mlpackage/Data/com.apple.CoreML/weights/weight.bin").stat().st_size
        for name in ("small", "plain")
    ]
    assert sizes[0] < sizes[1]


def test_folding_agrees_with_coremltools() -> None:
    x = normal(3, 4)
    kwargs = {"scale": np.float32(0.1), "zero_point": np.int8(3), "output_dtype": "int8"}

    def build(a: Any) -> Any:
        return mb.cast(x=mb.quantize(input=a, **kwargs), dtype="int32")

    close(evaluate(build, x)[0], inferred(build, x)[0])


BITS, SIZES = np.ones(1, np.uint8), np.array([4, 6], np.int32)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: compression.constexpr_lut_to_dense(BITS, normal(4), SIZES), "do not hold 48 bits"),
        (lambda: compression.constexpr_lut_to_dense(BITS, normal(3), SIZES), "not a power of two"),
        (
            lambda: compression.constexpr_sparse_to_dense(normal(1), BITS, SIZES),
            "do not hold 24 bits",
        ),
        (lambda: sequence.fill(np.array([1 << 20, 1 << 20])), "are more than"),
        (lambda: layout.tile(np.ones(1 << 10), np.array([1 << 30])), "are more than"),
        (lambda: sequence.one_hot(np.zeros(1 << 16, np.int32), np.int32(1 << 20)), "are more than"),
        (lambda: layout.pad(np.ones((1, 1)), np.array([0, 1 << 20, 0, 1 << 20])), "are more than"),
        (lambda: windows.padded(np.ones((1, 1, 1)), [(0, 1 << 33)], 0), "are more than"),
        (lambda: resizing.upsample_bilinear(np.ones((1, 1)), 1 << 20, 1 << 20), "are more than"),
        (lambda: sequence.range_1d(np.float32(0), np.float32(1e12), np.float32(1)), "more than"),
    ],
)
def test_a_small_file_makes_no_large_tensor_of_bits_it_has_not(
    call: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        call()
