"""Norms. Mean, variance and quotient are computed in float32 and rounded once.

Letters: N batch, C channels.
"""

from __future__ import annotations

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()


@OPS()
def layer_norm(
    x: np.ndarray,
    axes: np.ndarray | None = None,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: np.ndarray | float = 1e-5,
) -> np.ndarray:
    """Over `axes` (all by default); gamma and beta have the sizes of those axes, in their order."""
    over = tuple(range(x.ndim)) if axes is None else tuple(int(a) % x.ndim for a in axes)
    out = _standardise(x, over, epsilon)
    sizes = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    if gamma is not None:
        out *= gamma.reshape(sizes)
    if beta is not None:
        out += beta.reshape(sizes)
    return out


@OPS()
def instance_norm(
    x: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: np.ndarray | float = 1e-5,
) -> np.ndarray:
    """x [N,C,…] over all but N and C."""
    out = _standardise(x, tuple(range(2, x.ndim)), epsilon)
    if gamma is not None:
        out *= _by_channel(gamma, x)
    if beta is not None:
        out += _by_channel(beta, x)
    return out


@OPS()
def batch_norm(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    epsilon: np.ndarray | float = 1e-5,
) -> np.ndarray:
    """x [N,C,…] with the stored mean and variance [C]."""
    factor = 1 / np.sqrt(variance + epsilon)  # [C]
    if gamma is not None:
        factor = factor * gamma
    out = x - _by_channel(mean, x)
    out *= _by_channel(factor, x)
    if beta is not None:
        out += _by_channel(beta, x)
    return out


@OPS()
def l2_norm(x: np.ndarray, epsilon: np.ndarray | float = 1e-6) -> np.ndarray:
    """Divide by the root of the sum of squares over the last three axes."""
    return x / np.sqrt(np.square(x).sum((-3, -2, -1), keepdims=True) + epsilon)


def _standardise(x: np.ndarray, over: tuple[int, ...], epsilon: np.ndarray | float) -> np.ndarray:
    """Mean 0 and variance 1 over these axes."""
    out = x - x.mean(over, keepdims=True)
    variance = np.square(out).mean(over, keepdims=True)
    out *= 1 / np.sqrt(variance + epsilon)
    return out


def _by_channel(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[C] shaped to broadcast over x [N,C,…]."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))
