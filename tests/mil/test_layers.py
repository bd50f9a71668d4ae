"""Products, norms, attention, reductions and resizing, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil import close, evaluate, inferred, mb, normal

from edgecap.core.errors import BundleError
from edgecap.mil.ops import attention, linear, normalisation, reduction, resizing

HALVES = pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])


def t(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)


@HALVES
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_linear(half: bool, lead: tuple[int, ...]) -> None:
    x, weight = normal(*lead, 5, half=half), normal(4, 5, half=half)
    bias = normal(4, half=half)
    plain, with_bias = evaluate(
        lambda a: [mb.linear(x=a, weight=weight), mb.linear(x=a, weight=weight, bias=bias)], x
    )
    close(plain, F.linear(t(x), t(weight)), units=1 if half else 4)
    close(with_bias, F.linear(t(x), t(weight), t(bias)), units=1 if half else 4)


@HALVES
@pytest.mark.parametrize(
    ("x_shape", "y_shape", "flags"),
    [
        ((3, 4), (4, 5), (False, False)),
        ((2, 1, 4, 3), (5, 4, 6), (True, False)),
        ((2, 3, 4), (2, 5, 4), (False, True)),
        ((4, 3), (1, 5, 4), (True, True)),
    ],
)
def test_matmul(
    half: bool, x_shape: tuple[int, ...], y_shape: tuple[int, ...], flags: tuple[bool, bool]
) -> None:
    x, y = normal(*x_shape, half=half), normal(*y_shape, seed=1, half=half)
    (found,) = evaluate(
        lambda a, b: mb.matmul(x=a, y=b, transpose_x=flags[0], transpose_y=flags[1]), x, y
    )
    left, right = (z.mT if flag else z for z, flag in zip((t(x), t(y)), flags, strict=True))
    close(found, left @ right, units=1 if half else 4)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("nchw,nwhu->nchu", ((2, 3, 4, 5), (2, 5, 4, 6))),
        ("abcd,adce->abce", ((2, 3, 1, 5), (1, 5, 4, 6))),
        ("chw,whr->chr", ((3, 4, 5), (5, 4, 6))),
    ],
)
def test_einsum(equation: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = normal(*shapes[0]), normal(*shapes[1], seed=1)
    (found,) = evaluate(lambda a, b: mb.einsum(values=(a, b), equation=equation), x, y)
    close(found, torch.einsum(equation, t(x), t(y)))


@HALVES
def test_norms(half: bool) -> None:
    x = normal(2, 3, 4, 5, half=half)
    gamma, beta, mean = (normal(3, seed=i, half=half) for i in range(3))
    variance = np.abs(normal(3, seed=3, half=half)) + np.array(0.5, x.dtype)
    small = x.dtype.type(2**-10)

    def build(a: Any) -> list[Any]:
        parts = {"gamma": gamma, "beta": beta, "epsilon": small}
        return [
            mb.batch_norm(x=a, mean=mean, variance=variance, **parts),
            mb.batch_norm(x=a, mean=mean, variance=variance, epsilon=small),
            mb.instance_norm(x=a, **parts),
            mb.instance_norm(x=a, epsilon=small),
            mb.l2_norm(x=a, epsilon=small),
            mb.layer_norm(x=a, axes=[-1], epsilon=small),
        ]

    parts = (t(gamma), t(beta))
    expected = [
        F.batch_norm(t(x), t(mean), t(variance), *parts, eps=2**-10),
        F.batch_norm(t(x), t(mean), t(variance), eps=2**-10),
        F.instance_norm(t(x), weight=parts[0], bias=parts[1], eps=2**-10),
        F.instance_norm(t(x), eps=2**-10),
        t(x) / (t(x).square().sum((1, 2, 3), keepdim=True) + 2**-10).sqrt(),
        F.layer_norm(t(x), [5], eps=2**-10),
    ]
    for found, reference in zip(evaluate(build, x), expected, strict=True):
        close(found, reference, units=1 if half else 8)


def test_layer_norm_over_several_axes() -> None:
    x, gamma, beta = normal(2, 3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)

    def build(a: Any) -> list[Any]:
        return [
            mb.layer_norm(x=a, axes=[1, -1], gamma=gamma, beta=beta, epsilon=1e-5),
            mb.layer_norm(x=a, axes=[0, 2], epsilon=1e-5),
        ]

    found, others = evaluate(build, x)
    close(found, F.layer_norm(t(x), [3, 4], t(gamma), t(beta)), units=8)
    close(others, inferred(build, x)[1], units=8)


@HALVES
@pytest.mark.parametrize("mask", [None, "bool", "float"])
@pytest.mark.parametrize(
    "shapes", [((2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 6)), ((1, 1, 4), (1, 7, 4), (1, 7, 4))]
)
def test_attention(half: bool, mask: str | None, shapes: tuple[tuple[int, ...], ...]) -> None:
    q, k, v = (normal(*shape, seed=i, half=half) for i, shape in enumerate(shapes))
    T, S = q.shape[-2], k.shape[-2]
    arrays = [q, k, v]
    if mask == "bool":
        arrays.append(np.tril(np.ones((T, S), bool)))
    if mask == "float":
        arrays.append(normal(T, S, seed=5, half=half))

    def build(a: Any, b: Any, c: Any, d: Any = None) -> Any:
        more = {} if mask is None else {"attn_mask": d}
        return mb.scaled_dot_product_attention(query=a, key=b, value=c, **more)

    (found,) = evaluate(build, *arrays)
    tensors = [t(array) for array in arrays]
    close(found, F.scaled_dot_product_attention(*tensors), units=2 if half else 8)


@HALVES
@pytest.mark.parametrize("axis", [0, -1, 1])
def test_softmax(half: bool, axis: int) -> None:
    x = normal(3, 4, 5, half=half) * 20
    x[0, 0] = -60000
    (found,) = evaluate(lambda a: mb.softmax(x=a, axis=axis), x)
    close(found, t(x).softmax(axis), units=1 if half else 4)


REDUCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "reduce_l1_norm": lambda x, a, k: torch.linalg.vector_norm(x, 1, a, k),
    "reduce_l2_norm": lambda x, a, k: torch.linalg.vector_norm(x, 2, a, k),
    "reduce_log_sum": lambda x, a, k: x.sum(a, k).log(),
    "reduce_log_sum_exp": lambda x, a, k: x.logsumexp(a, k),
    "reduce_max": lambda x, a, k: x.amax(a, k),
    "reduce_mean": lambda x, a, k: x.mean(a, k),
    "reduce_min": lambda x, a, k: x.amin(a, k),
    "reduce_sum": lambda x, a, k: x.sum(a, k),
    "reduce_sum_square": lambda x, a, k: x.square().sum(a, k),
}


APART = {"linear", "matmul", "einsum", "softmax", "scaled_dot_product_attention"}
APART |= {"batch_norm", "instance_norm", "l2_norm", "layer_norm"}
APART |= {"reduce_prod", "reduce_argmax", "reduce_argmin"}
APART |= {"upsample_nearest_neighbor", "upsample_bilinear"}


def test_every_operation_here_is_tested() -> None:
    files = (attention, linear, normalisation, reduction, resizing)
    registered = {name for file in files for name in file.OPS}
    assert registered - REDUCTIONS.keys() == APART


@HALVES
@pytest.mark.parametrize("axes", [[1], [-1, 0], [0, 1, 2]])
@pytest.mark.parametrize("keep", [False, True])
def test_reductions(half: bool, axes: list[int], keep: bool) -> None:
    x = np.abs(normal(3, 4, 5, half=half))

    def build(a: Any) -> list[Any]:
        return [getattr(mb, name)(x=a, axes=axes, keep_dims=keep) for name in REDUCTIONS]

    for found, reference in zip(evaluate(build, x), REDUCTIONS.values(), strict=True):
        expected = reference(t(x), tuple(axes), keep)
        close(found.reshape(expected.shape), expected, units=1 if half else 8)


def test_product_and_arguments() -> None:
    x = np.array([[[1.5, -2, 0.5], [3, 3, -1]]], np.float32)

    def build(a: Any) -> list[Any]:
        return [
            mb.reduce_prod(x=a, axes=[-1]),
            mb.reduce_argmax(x=a, axis=-1),
            mb.reduce_argmin(x=a, axis=1, keep_dims=True),
            mb.reduce_argmax(x=a, axis=2, output_dtype="uint16"),
        ]

    product, greatest, least, short = evaluate(build, x)
    close(product, t(x).prod(-1))
    close(greatest, t(x).argmax(-1))  # the first of equal ones
    close(least, t(x).argmin(1, keepdim=True))
    close(short, t(x).argmax(-1))


@pytest.mark.parametrize("scale", [2, 3])
def test_upsampling(scale: int) -> None:
    x = normal(1, 2, 3, 4)
    options = {"scale_factor_height": scale, "scale_factor_width": 2}

    def build(a: Any) -> list[Any]:
        return [
            mb.upsample_nearest_neighbor(x=a, **options),
            mb.upsample_bilinear(x=a, align_corners=True, **options),
            mb.upsample_bilinear(x=a, align_corners=False, **options),
        ]

    size = [3 * scale, 8]
    expected = [
        F.interpolate(t(x), size, mode="nearest"),
        F.interpolate(t(x), size, mode="bilinear", align_corners=True),
        F.interpolate(t(x), size, mode="bilinear", align_corners=False),
    ]
    for found, reference in zip(evaluate(build, x), expected, strict=True):
        close(found, reference, units=8)


def test_nearest_rows_by_the_rounded_size() -> None:
    """Apple's own case: three columns times 1.12 stay three; and 4 → 6 as torch's writes it."""
    x = np.array([1.5, -2.5, 3.5], np.float32).reshape(1, 1, 1, 3)
    (found,) = evaluate(lambda a: mb.upsample_nearest_neighbor(x=a, scale_factor_width=1.12), x)
    close(found, x)
    x = normal(1, 2, 4, 3)
    up = {"scale_factor_height": (6 + 1e-4) / 4, "scale_factor_width": np.float32(5 / 3)}
    (found,) = evaluate(lambda a: mb.upsample_nearest_neighbor(x=a, **up), x)
    close(found, F.interpolate(t(x), (6, 5), mode="nearest"))


def test_sums_do_not_stop_at_fp16() -> None:
    """4096 ones: an fp16 sum would end at 2048, where adding 1 changes nothing."""
    x = np.ones((1, 4096), np.float16)

    def build(a: Any) -> list[Any]:
        return [
            mb.linear(x=a, weight=np.ones((1, 4096), np.float16)),
            mb.reduce_sum(x=a, axes=[1], keep_dims=True),
        ]

    for found in evaluate(build, x):
        assert found.item() == 4096


def test_what_is_too_large_for_fp16_is_infinite() -> None:
    x = np.full((1, 2, 2), 300, np.float16)
    found, hidden = evaluate(
        lambda a: [mb.square(x=a), mb.layer_norm(x=mb.mul(x=a, y=np.float16(200)), axes=[2])], x
    )
    assert np.isposinf(found).all()
    assert not np.isposinf(hidden).any()  # 60000 squared is fine inside the norm


def test_an_operation_that_fails_names_itself() -> None:
    def build(a: Any, b: Any) -> Any:
        return mb.reshape(x=a, shape=b, name="odd")

    with pytest.raises(BundleError, match=r"reshape at 'odd' of function 'main': .+\.") as caught:
        evaluate(build, normal(2, 3), np.array([4, 2], np.int32))
    assert caught.value.code == "bundle.model"
