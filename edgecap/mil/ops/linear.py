"""Matrix products. Sums are kept in float32 and rounded once, with the bias already added."""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()


@OPS()
def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """x [...,I], weight [O,I], bias [O] to [...,O]."""
    # One product instead of one per leading index. Sizes are explicit here and in the other files:
    # a -1 cannot be inferred for an empty tensor.
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    out = (rows @ weight.T).reshape(*x.shape[:-1], weight.shape[0])
    if bias is not None:
        out += bias
    return out


@OPS()
def matmul(
    x: np.ndarray,
    y: np.ndarray,
    transpose_x: np.ndarray | bool = False,
    transpose_y: np.ndarray | bool = False,
) -> np.ndarray:
    """[...,M,K] and [...,K,N] to [...,M,N], leading axes broadcast."""
    return np.matmul(
        x.swapaxes(-1, -2) if transpose_x else x, y.swapaxes(-1, -2) if transpose_y else y
    )


@OPS()
def einsum(values: list[np.ndarray], equation: str) -> np.ndarray:
    """x [(N),C,H,W], y [(N),W,H,U] to [(N),C,H,U], all that MIL allows; N and H broadcast."""
    x, y = values
    known = {3: "chw,whu->chu", 4: "nchw,nwhu->nchu"}.get(x.ndim, "")
    if _pattern(equation.replace(" ", "")) != _pattern(known):
        raise ValueError(f"equation {equation!r} is not known for rank {x.ndim}")
    product = x.swapaxes(-2, -3) @ y.swapaxes(-2, -3)  # [(N),H,C,U]
    return product.swapaxes(-2, -3)


def _pattern(text: str) -> list[int]:
    """Letters numbered by appearance: equal for equations that differ in letters only."""
    return [text.index(letter) for letter in text]
