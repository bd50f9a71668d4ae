"""What slides over axes, convolutions and pools, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil import close, evaluate, mb, normal

from edgecap.mil.ops import conv, pooling

HALVES = pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])


def t(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)


def test_every_operation_here_is_tested() -> None:
    assert {"conv", "conv_transpose"} == conv.OPS.keys()
    assert {"max_pool", "avg_pool", "l2_pool"} == pooling.OPS.keys()


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 3, 9), (4, 3, 3), {"strides": [2], "pad": [1, 1]}),
    "1d dilated": ((1, 4, 11), (4, 2, 3), {"dilations": [3], "groups": 2}),
    "2d": ((2, 3, 7, 6), (5, 3, 3, 2), {}),
    "2d strided": (
        (1, 4, 8, 9),
        (6, 2, 3, 3),
        {"strides": [2, 3], "pad": [1, 1, 2, 2], "groups": 2},
    ),
    "2d depthwise": ((1, 4, 6, 6), (8, 1, 3, 3), {"groups": 4, "dilations": [2, 1]}),
    "2d of one": ((1, 2, 3, 3), (2, 2, 3, 3), {}),
    "3d": ((1, 2, 4, 5, 6), (3, 2, 2, 3, 1), {"strides": [1, 2, 2]}),
}
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def in_torch(options: dict[str, Any], axes: int) -> dict[str, Any]:
    """Options of MIL's convolutions as PyTorch's, which pads both ends of an axis alike."""
    return {
        "stride": options.get("strides", 1),
        "padding": options.get("pad", [0])[::2] * (1 if "pad" in options else axes),
        "dilation": options.get("dilations", 1),
        "groups": options.get("groups", 1),
    }


@HALVES
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv(name: str, half: bool) -> None:
    shape, kernel, options = CONVOLUTIONS[name]
    x, weight, bias = normal(*shape, half=half), normal(*kernel, half=half), normal(kernel[0])
    bias = bias.astype(x.dtype)
    pad_type = "custom" if "pad" in options else "valid"
    (found,) = evaluate(
        lambda a: mb.conv(x=a, weight=weight, bias=bias, pad_type=pad_type, **options), x
    )
    wanted = CONV[len(shape) - 2](
        t(x),
        t(weight),
        t(bias),
        **in_torch(options, len(shape) - 2),
    )
    close(found, wanted, units=1 if half else 6)


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv_same(kernel: int, stride: int) -> None:
    x, weight = normal(1, 2, 7, 8), normal(3, 2, kernel, kernel)
    found = evaluate(
        lambda a: [
            mb.conv(x=a, weight=weight, pad_type=pad_type, strides=[stride, stride])
            for pad_type in ("same", "same_lower")
        ],
        x,
    )
    for each, lower in zip(found, (False, True), strict=True):
        pads: list[int] = []
        for size in (8, 7):  # torch pads the last axis first
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            few, many = total // 2, total - total // 2
            pads += [many, few] if lower else [few, many]
        close(each, F.conv2d(F.pad(t(x), pads), t(weight), stride=stride), units=6)


TRANSPOSES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 3, 5), (3, 4, 3), {"strides": [2]}),
    "2d": ((1, 4, 5, 4), (4, 2, 3, 2), {"strides": [2, 3], "pad": [1, 1, 0, 0]}),
    "2d groups": ((1, 4, 3, 3), (4, 2, 3, 3), {"groups": 2, "dilations": [2, 1]}),
    "3d": ((1, 2, 2, 3, 2), (2, 2, 2, 2, 2), {"strides": [2, 1, 2]}),
}


@pytest.mark.parametrize("name", TRANSPOSES)
def test_conv_transpose(name: str) -> None:
    shape, kernel, options = TRANSPOSES[name]
    x, weight = normal(*shape), normal(*kernel)
    bias = normal(kernel[1] * options.get("groups", 1))
    pad_type = "custom" if "pad" in options else "valid"
    (found,) = evaluate(
        lambda a: mb.conv_transpose(x=a, weight=weight, bias=bias, pad_type=pad_type, **options), x
    )
    wanted = TRANSPOSED[len(shape) - 2](
        t(x),
        t(weight),
        t(bias),
        **in_torch(options, len(shape) - 2),
    )
    close(found, wanted, units=6)


def test_conv_transpose_to_a_given_size() -> None:
    x, weight = normal(1, 2, 4, 4), normal(2, 3, 3, 3)
    (found,) = evaluate(
        lambda a: mb.conv_transpose(
            x=a,
            weight=weight,
            pad_type="custom",
            pad=[1, 1, 1, 1],
            strides=[2, 2],
            output_shape=[1, 3, 8, 8],
        ),
        x,
    )
    wanted = F.conv_transpose2d(t(x), t(weight), stride=2, padding=1, output_padding=1)
    close(found, wanted, units=6)


POOLS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 3, 9), {"kernel_size": 3}),
    "2d": ((1, 2, 7, 8), {"kernel_size": [3, 2], "stride": [2, 2]}),
    "2d padded": ((1, 2, 7, 8), {"kernel_size": [3, 3], "stride": [2, 3], "padding": [1, 1]}),
    "2d ceil": ((1, 2, 7, 8), {"kernel_size": [2, 3], "stride": [2, 2], "ceil_mode": True}),
    "2d ceil padded": (
        (1, 1, 5, 6),
        {"kernel_size": [2, 3], "stride": [2, 3], "padding": [1, 1], "ceil_mode": True},
    ),
    "3d": ((1, 2, 4, 5, 6), {"kernel_size": [2, 2, 3], "stride": [1, 2, 3]}),
}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@HALVES
@pytest.mark.parametrize("name", POOLS)
def test_pools(name: str, half: bool) -> None:
    shape, options = POOLS[name][0], dict(POOLS[name][1])
    rank = len(shape) - 2
    x = normal(*shape, half=half)
    kernel = options["kernel_size"]
    kernel = kernel if isinstance(kernel, list) else [kernel]
    mil: dict[str, Any] = {
        "kernel_sizes": kernel,
        "strides": options.get("stride", kernel),
        "pad_type": "custom" if "padding" in options else "valid",
        "ceil_mode": options.get("ceil_mode", False),
    }
    if "padding" in options:
        mil["pad"] = [size for size in options["padding"] for _ in range(2)]

    def build(a: Any) -> list[Any]:
        pools = [
            mb.max_pool(x=a, **mil),
            mb.avg_pool(x=a, exclude_padding_from_average=True, **mil),
            mb.avg_pool(x=a, exclude_padding_from_average=False, **mil),
        ]
        return pools if rank == 3 else [*pools, mb.l2_pool(x=a, **mil)]  # MIL has no 3-D one

    greatest, inside, whole, *norm = evaluate(build, x)
    units = 1 if half else 4
    close(greatest, MAX[rank](t(x), **options))
    close(inside, AVERAGE[rank](t(x), count_include_pad=False, **options), units)
    close(whole, AVERAGE[rank](t(x), count_include_pad=True, **options), units)
    if norm and "ceil padded" not in name:  # there torch counts other windows
        flat = [size for size in reversed(options.pop("padding", [])) for _ in range(2)]
        count = 1 if rank > 1 else kernel[0]  # 1-D has no divisor_override
        more = {"divisor_override": 1} if rank > 1 else {}
        squares = AVERAGE[rank](F.pad(t(x).square(), flat), **options, **more) * count
        close(norm[0], squares.sqrt(), 2 * units)


def test_pools_same() -> None:
    x = normal(1, 2, 5, 6)
    (found,) = evaluate(
        lambda a: mb.max_pool(x=a, kernel_sizes=[3, 2], strides=[2, 2], pad_type="same"), x
    )
    close(found, F.max_pool2d(F.pad(t(x), [0, 0, 1, 1], value=-torch.inf), [3, 2], 2))
