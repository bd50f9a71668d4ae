"""Activations. The inner steps are computed in float32 and rounded once, at the end."""

from __future__ import annotations

import math

import numpy as np

from edgecap.mil.ops.registry import Registry
from edgecap.mil.ops.unary import erf

OPS = Registry()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)); if exp overflows, the quotient is 0, which is correct."""
    return 1 / (1 + np.exp(-x))


def _by_channel(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[C] shaped to broadcast over x [N,C,…]."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


@OPS(exact=True)
def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


@OPS(exact=True)
def relu6(x: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(x, 0), 6)


@OPS()
def leaky_relu(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.where(x < 0, x * alpha, x)


@OPS()
def prelu(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.where(x < 0, x * _by_channel(alpha, x), x)


@OPS()
def clamped_relu(x: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return np.minimum(np.where(x < 0, x * alpha, x), beta)


@OPS(exact=True)
def thresholded_relu(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.where(x >= alpha, x, 0)


@OPS()
def elu(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


@OPS()
def sigmoid(x: np.ndarray) -> np.ndarray:
    return _sigmoid(x)


@OPS()
def sigmoid_hard(x: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(alpha * x + beta, 0), 1)


@OPS()
def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


@OPS()
def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0)


@OPS()
def softplus_parametric(x: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return _by_channel(alpha, x) * np.logaddexp(x * _by_channel(beta, x), 0)


@OPS()
def softsign(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.abs(x))


@OPS()
def scaled_tanh(x: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return alpha * np.tanh(beta * x)


@OPS()
def linear_activation(x: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return alpha * x + beta


@OPS()
def gelu(x: np.ndarray, mode: str = "EXACT") -> np.ndarray:
    # In place where possible: this is the largest tensor of a transformer.
    if mode == "EXACT":
        out = erf(x * math.sqrt(0.5))
        out += 1
        out *= x
        out *= 0.5
        return out
    if mode == "SIGMOID_APPROXIMATION":
        return x * _sigmoid(1.702 * x)
    if mode != "TANH_APPROXIMATION":
        raise ValueError(f"mode {mode!r} is not known")
    inner = x * x
    inner *= 0.044715
    inner += 1
    inner *= x
    inner *= math.sqrt(2 / math.pi)
    inner = np.tanh(inner)
    inner += 1
    inner *= x
    inner *= 0.5
    return inner
