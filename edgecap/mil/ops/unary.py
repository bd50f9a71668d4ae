"""One tensor, element by element, without parameters or with an epsilon."""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()

_ROUNDED: dict[str, np.ufunc] = {
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "exp2": np.exp2,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}
_EXACT: dict[str, np.ufunc] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "identity": np.positive,
    "logical_not": np.logical_not,
    "round": np.rint,  # halves to even
    "sign": np.sign,
}


def _unary(function: np.ufunc):  # type: ignore[no-untyped-def]
    def compute(x: np.ndarray) -> np.ndarray:
        return function(x)

    return compute


for _name, _function in _ROUNDED.items():
    OPS.add(_name, _unary(_function))
for _name, _function in _EXACT.items():
    OPS.add(_name, _unary(_function), exact=True)


@OPS()
def cast(x: np.ndarray, dtype: str) -> np.ndarray:
    """Converts to the declared type: fractions are truncated, nonzero becomes True."""
    return x != 0 if dtype == "bool" else x


@OPS()
def inverse(x: np.ndarray, epsilon: np.ndarray | float = 1e-4) -> np.ndarray:
    return 1 / (x + epsilon)


@OPS()
def log(x: np.ndarray, epsilon: np.ndarray | float = 1e-45) -> np.ndarray:
    return np.log(x + epsilon)


@OPS()
def rsqrt(x: np.ndarray, epsilon: np.ndarray | float = 1e-12) -> np.ndarray:
    return 1 / np.sqrt(x + epsilon)


@OPS(exact=True)
def clip(x: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, alpha), beta)


@OPS(exact=True)
def threshold(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.maximum(x, alpha)


# NumPy has no erf. Between knots 1/4096 apart a straight line errs by h^2/8 * |erf''| < 8e-9, and
# near 0, where erf'' goes to 0 with x, by 2e-8 of the value: less than float32's own rounding.
_KNOTS_PER_UNIT, _END = 4096, 4  # erf(4) is 1 in float32
_ERF = np.array([math.erf(i / _KNOTS_PER_UNIT) for i in range(_END * _KNOTS_PER_UNIT + 2)])
_RISE = np.diff(_ERF).astype(np.float32)
_LEFT = _ERF[:-1].astype(np.float32)


@OPS()
def erf(x: np.ndarray) -> np.ndarray:
    """The error function of float32, to about one unit in the last place."""
    distance = np.asarray(np.abs(x))  # an array at rank 0 too, to be written into
    np.minimum(distance, _END, out=distance)  # NaN stays
    distance *= _KNOTS_PER_UNIT
    knot = distance.astype(np.intp)
    distance -= knot  # in [0,1)
    distance *= _RISE.take(knot, mode="clip")  # clip: NaN as an index is anything
    distance += _LEFT.take(knot, mode="clip")
    return np.copysign(distance, x, out=distance)
