"""Tensors without elements: what PyTorch gives for them, and not an error.

CoreML's own builder refuses them, so the kernels are called as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil import close, normal

from edgecap.mil.ops import KERNELS


def none(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


NO_PLACES = np.zeros((0, 2), np.int32)
# kernel, its inputs by MIL's names, and PyTorch's answer to them in that order
CASES: dict[str, tuple[str, dict[str, Any], Callable[..., torch.Tensor]]] = {
    "conv": (
        "conv",
        {"x": none(0, 4, 7, 6), "weight": normal(6, 2, 3, 3), "groups": 2},
        lambda x, weight, groups: F.conv2d(x, weight, groups=groups),
    ),
    "conv 1d, bias": (
        "conv",
        {"x": none(0, 3, 9), "weight": normal(4, 3, 3), "bias": normal(4)},
        F.conv1d,
    ),
    "conv_transpose": (
        "conv_transpose",
        {"x": none(0, 4, 5, 4), "weight": normal(4, 2, 3, 2), "groups": 2},
        lambda x, weight, groups: F.conv_transpose2d(x, weight, groups=groups),
    ),
    "linear, no inputs": (
        "linear",
        {"x": none(2, 3, 0), "weight": none(4, 0), "bias": normal(4)},
        F.linear,
    ),
    "linear, no rows": ("linear", {"x": none(0, 3, 5), "weight": normal(4, 5)}, F.linear),
    "linear, no outputs": ("linear", {"x": normal(2, 5), "weight": none(0, 5)}, F.linear),
    "matmul": ("matmul", {"x": none(2, 3, 0), "y": none(2, 0, 4)}, torch.matmul),
    "softmax, nothing to share": ("softmax", {"x": none(2, 0), "axis": 1}, torch.softmax),
    "softmax, no rows": ("softmax", {"x": none(0, 3), "axis": -1}, torch.softmax),
    "attention to nothing": (
        "scaled_dot_product_attention",
        {"query": normal(1, 2, 5), "key": none(1, 0, 5), "value": none(1, 0, 4)},
        F.scaled_dot_product_attention,
    ),
    "attention without scores": (
        "scaled_dot_product_attention",
        {"query": none(1, 2, 0), "key": none(1, 3, 0), "value": normal(1, 3, 4)},
        F.scaled_dot_product_attention,
    ),
    "gather in no batch": (
        "gather",
        {"x": none(0, 3, 4, 5), "indices": NO_PLACES, "axis": 2, "batch_dims": 1},
        lambda x, indices, axis, batch_dims: torch.empty(0, 3, 2, 5),
    ),
    "gather of no places": (
        "gather",
        {"x": normal(2, 3), "indices": NO_PLACES[:, 0], "axis": 1},
        lambda x, indices, axis: x.index_select(1, indices),
    ),
    "reduce_log_sum_exp": (
        "reduce_log_sum_exp",
        {"x": none(2, 0), "axes": np.array([1])},
        lambda x, axes: x.logsumexp(1),
    ),
    "max_pool": (
        "max_pool",
        {"x": none(0, 2, 6), "kernel_sizes": np.array([2]), "pad_type": "valid"},
        lambda x, kernel_sizes, pad_type: F.max_pool1d(x, 2, 1),
    ),
    "concat": (
        "concat",
        {"values": [none(0, 2), none(0, 2)], "axis": 1, "interleave": True},
        lambda values, axis, interleave: torch.cat(values, axis),
    ),
    "layer_norm": (
        "layer_norm",
        {"x": none(0, 3), "axes": np.array([-1])},
        lambda x, axes: F.layer_norm(x, [3]),
    ),
}


def tensor(value: Any) -> Any:
    if isinstance(value, list):
        return [tensor(each) for each in value]
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", CASES)
def test_nothing_gives_what_pytorch_gives(name: str) -> None:
    kernel, inputs, reference = CASES[name]
    wanted = reference(*(tensor(value) for value in inputs.values()))
    with np.errstate(all="ignore"):  # as the evaluator runs them
        close(KERNELS[kernel].compute(**inputs), wanted)
