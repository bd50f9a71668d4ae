"""Axes reduced to one value. Sums are kept in float32 and rounded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()

Axes = tuple[int, ...] | None


def _l1_norm(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return np.abs(x).sum(axes, keepdims=keep)


def _l2_norm(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return np.sqrt(np.square(x).sum(axes, keepdims=keep))


def _log_sum(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return np.log(x.sum(axes, keepdims=keep))


def _log_sum_exp(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    top = x.max(axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)  # else inf - inf
    total = np.log(np.exp(x - top).sum(axes, keepdims=True)) + top
    return total if keep else total.squeeze(axes)


def _mean(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return x.mean(axes, keepdims=keep)


def _prod(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return x.prod(axes, keepdims=keep)


def _sum(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return x.sum(axes, keepdims=keep)


def _sum_square(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return np.square(x).sum(axes, keepdims=keep)


def _max(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return x.max(axes, keepdims=keep)


def _min(x: np.ndarray, axes: Axes, keep: bool) -> np.ndarray:
    return x.min(axes, keepdims=keep)


def _reduction(function: Callable[[np.ndarray, Axes, bool], np.ndarray]):  # type: ignore[no-untyped-def]
    def compute(
        x: np.ndarray, axes: np.ndarray | None = None, keep_dims: np.ndarray | bool = False
    ) -> np.ndarray:
        """Over `axes`, all by default."""
        over = None if axes is None else tuple(int(axis) for axis in axes)
        return function(x, over, bool(keep_dims))

    return compute


for _name, _function in {
    "reduce_l1_norm": _l1_norm,
    "reduce_l2_norm": _l2_norm,
    "reduce_log_sum": _log_sum,
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_mean": _mean,
    "reduce_prod": _prod,
    "reduce_sum": _sum,
    "reduce_sum_square": _sum_square,
}.items():
    OPS.add(_name, _reduction(_function))
OPS.add("reduce_max", _reduction(_max), exact=True)
OPS.add("reduce_min", _reduction(_min), exact=True)


def _arg(function: Callable[..., np.ndarray]):  # type: ignore[no-untyped-def]
    def compute(
        x: np.ndarray,
        axis: np.ndarray | int = -1,
        keep_dims: np.ndarray | bool = False,
        output_dtype: str = "int32",
    ) -> np.ndarray:
        """The index of the first extreme along `axis`."""
        return function(x, int(axis), keepdims=bool(keep_dims))

    return compute


OPS.add("reduce_argmax", _arg(np.argmax), exact=True)
OPS.add("reduce_argmin", _arg(np.argmin), exact=True)
