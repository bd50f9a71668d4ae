"""Inputs of the contract's functions, and what torch answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

CLOSE = {"fp32": 1e-4, "fp16": 1e-2, "w8": 0.5}  # on values of size 1 … 10


def examples(function: Any, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    found = {}
    for name, tensor in function.inputs.items():
        shape = list(tensor.shape)
        shape[function.batch_axes[name]] = batch
        if tensor.dtype == torch.uint8:
            found[name] = rng.integers(0, 256, shape).astype(np.uint8)
        elif tensor.dtype == torch.int32:
            found[name] = rng.integers(1, 90, shape).astype(np.int32)
        else:
            found[name] = rng.standard_normal(shape).astype(np.float32)
    return found


def expected(function: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        out = function.module(*(torch.from_numpy(value) for value in feeds.values()))
    values = out if isinstance(out, tuple) else (out,)
    return {name: v.numpy() for name, v in zip(function.outputs, values, strict=True)}
