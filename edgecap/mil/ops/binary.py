"""Two tensors into one, element by element, with NumPy's broadcasting (which is MIL's)."""

from __future__ import annotations

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()

_ROUNDED: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.true_divide,
    "floor_div": np.floor_divide,
    "mod": np.mod,  # the sign is the divisor's
    "pow": np.power,
}
_EXACT: dict[str, np.ufunc] = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


def _binary(function: np.ufunc):  # type: ignore[no-untyped-def]
    def compute(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return function(x, y)

    return compute


for _name, _function in _ROUNDED.items():
    OPS.add(_name, _binary(_function))
for _name, _function in _EXACT.items():
    OPS.add(_name, _binary(_function), exact=True)


@OPS(exact=True)
def select(cond: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(cond, a, b)
