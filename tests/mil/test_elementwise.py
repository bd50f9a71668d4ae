"""Operations that work element by element, against PyTorch; both widths of float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil import close, evaluate, inferred, mb, normal

from edgecap.mil.ops import KERNELS, activation, binary, unary

HALVES = pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])

# name -> (build, reference, range of the input)
UNARY: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[float, float]]] = {
    "abs": (mb.abs, torch.abs, (-3, 3)),
    "acos": (mb.acos, torch.acos, (-1, 1)),
    "asin": (mb.asin, torch.asin, (-1, 1)),
    "atan": (mb.atan, torch.atan, (-3, 3)),
    "atanh": (mb.atanh, torch.atanh, (-0.9, 0.9)),
    "ceil": (mb.ceil, torch.ceil, (-3, 3)),
    "cos": (mb.cos, torch.cos, (-3, 3)),
    "cosh": (mb.cosh, torch.cosh, (-3, 3)),
    "erf": (mb.erf, torch.erf, (-5, 5)),
    "exp": (mb.exp, torch.exp, (-3, 3)),
    "exp2": (mb.exp2, torch.exp2, (-3, 3)),
    "floor": (mb.floor, torch.floor, (-3, 3)),
    "identity": (mb.identity, lambda x: x, (-3, 3)),
    "inverse": (lambda x: mb.inverse(x=x, epsilon=0.5), lambda x: 1 / (x + 0.5), (0, 3)),
    "log": (mb.log, torch.log, (0.1, 3)),
    "relu": (mb.relu, torch.relu, (-3, 3)),
    "relu6": (mb.relu6, F.relu6, (-3, 9)),
    "round": (mb.round, torch.round, (-3, 3)),
    "rsqrt": (mb.rsqrt, torch.rsqrt, (0.1, 3)),
    "sigmoid": (mb.sigmoid, torch.sigmoid, (-100, 100)),
    "sign": (mb.sign, torch.sign, (-3, 3)),
    "silu": (mb.silu, F.silu, (-30, 30)),
    "sin": (mb.sin, torch.sin, (-3, 3)),
    "sinh": (mb.sinh, torch.sinh, (-3, 3)),
    "softplus": (mb.softplus, lambda x: F.softplus(x, threshold=1e9), (-80, 80)),
    "softsign": (mb.softsign, F.softsign, (-3, 3)),
    "sqrt": (mb.sqrt, torch.sqrt, (0, 3)),
    "square": (mb.square, torch.square, (-3, 3)),
    "tan": (mb.tan, torch.tan, (-1, 1)),
    "tanh": (mb.tanh, torch.tanh, (-3, 3)),
    "gelu": (lambda x: mb.gelu(x=x, mode="EXACT"), F.gelu, (-6, 6)),
    "gelu tanh": (
        lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        lambda x: F.gelu(x, approximate="tanh"),
        (-6, 6),
    ),
    "gelu sigmoid": (
        lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
        lambda x: x * torch.sigmoid(1.702 * x),
        (-6, 6),
    ),
}
# Parameters are powers of two, so that they are the same in both widths.
PARAMETERS: dict[str, tuple[dict[str, float], Callable[..., Any]]] = {
    "clamped_relu": (
        {"alpha": 0.25, "beta": 2.0},
        lambda x: torch.where(x >= 0, x, 0.25 * x).clamp(max=2),
    ),
    "clip": ({"alpha": -0.5, "beta": 1.0}, lambda x: x.clamp(-0.5, 1)),
    "elu": ({"alpha": 0.5}, lambda x: F.elu(x, 0.5)),
    "leaky_relu": ({"alpha": 0.25}, lambda x: F.leaky_relu(x, 0.25)),
    "linear_activation": ({"alpha": 0.25, "beta": 2.0}, lambda x: 0.25 * x + 2),
    "scaled_tanh": ({"alpha": 2.0, "beta": 0.5}, lambda x: 2 * torch.tanh(0.5 * x)),
    "sigmoid_hard": ({"alpha": 0.25, "beta": 0.5}, lambda x: (0.25 * x + 0.5).clamp(0, 1)),
    "threshold": ({"alpha": 0.5}, lambda x: x.clamp(min=0.5)),
    "thresholded_relu": ({"alpha": 0.5}, lambda x: torch.where(x >= 0.5, x, 0)),
}
BINARY: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.div,
    "floor_div": torch.floor_divide,
    "mod": torch.remainder,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
}
LOGICAL = {"logical_and": torch.logical_and, "logical_or": torch.logical_or}
LOGICAL |= {"logical_xor": torch.logical_xor}
APART = {"cast", "logical_not", "pow", "prelu", "select", "softplus_parametric"}


def test_every_operation_here_is_tested() -> None:
    registered = unary.OPS.keys() | binary.OPS.keys() | activation.OPS.keys()
    tested = {name.split()[0] for name in UNARY} | PARAMETERS.keys() | BINARY.keys()
    assert registered - tested - LOGICAL.keys() == APART
    assert registered <= KERNELS.keys()


def wide(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)


@HALVES
def test_of_one_tensor(half: bool) -> None:
    """All of them in one program: (3, 5), then a scalar."""
    kind = np.float16 if half else np.float32
    inputs = {}
    for name, (_, _, (low, high)) in UNARY.items():
        values = np.linspace(low, high, 300).reshape(3, 100)
        inputs[name] = values.astype(kind)
    stacked = np.stack(list(inputs.values()))  # [n,3,100]

    def build(a: Any) -> list[Any]:
        parts = mb.split(x=a, num_splits=len(UNARY), axis=0)
        return [build(x=part) for part, (build, _, _) in zip(parts, UNARY.values(), strict=True)]

    for found, (name, (_, reference, _)) in zip(
        evaluate(build, stacked), UNARY.items(), strict=True
    ):
        assert found.dtype == kind, name
        close(found[0], reference(wide(inputs[name])), units=4 if not half else 1)


@pytest.mark.parametrize("name", ["erf", "gelu", "gelu tanh", "relu", "softplus", "sqrt", "sign"])
def test_of_scalars_and_of_nothing(name: str) -> None:
    build, reference, _ = UNARY[name]
    x = normal(3)

    def scalar(a: Any) -> Any:
        return build(x=mb.squeeze(x=mb.slice_by_size(x=a, begin=[1], size=[1])))

    close(evaluate(scalar, np.abs(x))[0].reshape(()), reference(torch.from_numpy(np.abs(x))[1]))
    assert KERNELS[name.split()[0]].compute(np.zeros((0, 3), np.float32)).shape == (0, 3)


@HALVES
def test_with_parameters(half: bool) -> None:
    x = np.linspace(-4, 4, 200).reshape(1, 200).astype(np.float16 if half else np.float32)

    def build(a: Any) -> list[Any]:
        kind = x.dtype.type
        return [
            getattr(mb, name)(x=a, **{key: kind(value) for key, value in values.items()})
            for name, (values, _) in PARAMETERS.items()
        ]

    for found, (_, reference) in zip(evaluate(build, x), PARAMETERS.values(), strict=True):
        assert found.dtype == x.dtype
        close(found, reference(wide(x)), units=1 if half else 4)


def test_by_channel() -> None:
    x, alpha, beta = normal(2, 3, 4, 5), normal(3, seed=1), np.abs(normal(3, seed=2))
    (found,) = evaluate(lambda a: mb.prelu(x=a, alpha=alpha), x)
    close(found, F.prelu(torch.from_numpy(x), torch.from_numpy(alpha)))
    (found,) = evaluate(lambda a: mb.softplus_parametric(x=a, alpha=alpha, beta=beta), x)
    scale, slope = (torch.from_numpy(v)[:, None, None] for v in (alpha, beta))
    close(found, scale * torch.log1p(torch.exp(slope * torch.from_numpy(x))))


@HALVES
@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3)), ((4, 1, 3), (2, 1)), ((1,), (2, 2)), ((1, 5), (3, 1))]
)
def test_of_two_tensors(half: bool, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = normal(*shapes[0], half=half), normal(*shapes[1], seed=1, half=half)

    def build(a: Any, b: Any) -> list[Any]:
        return [getattr(mb, name)(x=a, y=b) for name in BINARY]

    for found, reference in zip(evaluate(build, x, y), BINARY.values(), strict=True):
        wanted = reference(wide(x), wide(y))
        # A package gives truth values out as float32: CoreML has no outputs of type bool.
        assert found.dtype == (np.float32 if wanted.dtype == torch.bool else x.dtype)
        close(found, wanted, units=1 if half else 2)


def test_of_integers() -> None:
    x = np.array([[7, -7, 100, 0]], np.int32)
    y = np.array([[2], [-3]], np.int32)
    names = ["add", "sub", "mul", "floor_div", "mod", "maximum", "less", "equal"]

    def build(a: Any, b: Any) -> list[Any]:
        return [getattr(mb, name)(x=a, y=b) for name in names]

    for found, name in zip(evaluate(build, x, y), names, strict=True):
        close(found, BINARY[name](torch.from_numpy(x), torch.from_numpy(y)))


def test_powers() -> None:
    x, y = np.abs(normal(3, 4)), normal(4, seed=1)
    (found,) = evaluate(lambda a, b: mb.pow(x=a, y=b), x, y)
    close(found, torch.pow(torch.from_numpy(x), torch.from_numpy(y)))


def test_of_truth_values() -> None:
    x, y = np.array([[True, False]]), np.array([[True], [False]])

    def build(a: Any, b: Any) -> list[Any]:
        return [*(getattr(mb, name)(x=a, y=b) for name in LOGICAL), mb.logical_not(x=a)]

    *pairs, negated = evaluate(build, x, y)
    for found, reference in zip(pairs, LOGICAL.values(), strict=True):
        close(found, reference(torch.from_numpy(x), torch.from_numpy(y)))
    close(negated, ~x)


def test_select_broadcasts() -> None:
    choose, x, y = np.array([[True], [False]]), normal(2, 3), normal(1, 3, seed=1)
    (found,) = evaluate(lambda a, b, c: mb.select(cond=a, a=b, b=c), choose, x, y)
    close(found, np.where(choose, x, y))


@pytest.mark.parametrize("to", ["fp16", "fp32", "int32", "bool"])
def test_casts(to: str) -> None:
    x = np.array([[-2.75, -0.5, 0, 0.4, 1.9, 70000, 2048.9]], np.float32)

    def build(a: Any) -> Any:
        return mb.cast(x=a, dtype=to)

    (found,) = evaluate(build, x)
    kind = {"fp16": torch.float16, "int32": torch.int32, "bool": torch.bool}.get(to, torch.float32)
    np.testing.assert_array_equal(found, torch.from_numpy(x).to(kind).numpy())


def test_coremltools_folds_the_same() -> None:
    x = normal(2, 5)

    def build(a: Any) -> list[Any]:
        return [
            mb.elu(x=a, alpha=0.5),
            mb.softsign(x=a),
            mb.gelu(x=a, mode="TANH_APPROXIMATION"),
            mb.sigmoid_hard(x=a, alpha=0.2, beta=0.5),
            mb.mod(x=a, y=np.float32(0.7)),
            mb.erf(x=a),
        ]

    for found, wanted in zip(evaluate(build, x), inferred(build, x), strict=True):
        close(found, wanted)
