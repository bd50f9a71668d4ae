"""An adapter's functions in PyTorch, behind the interface that engines have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecap.models.adapter import GraphFunction
from edgecap.runtime.backends.single import Arrays, FunctionSession


class Eager(FunctionSession):
    """Runs graph functions as they are, any batch."""

    batch = None

    def __init__(self, functions: Sequence[GraphFunction]) -> None:
        self._functions = {function.name: function for function in functions}

    def run(self, name: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """One function; outputs as float32 arrays."""
        import torch

        function = self._functions[name]
        with torch.no_grad():
            results = function.module(
                *(torch.from_numpy(np.ascontiguousarray(inputs[key])) for key in function.inputs)
            )
        tensors = results if isinstance(results, tuple) else (results,)
        return {
            key: tensor.float().numpy()
            for key, tensor in zip(function.outputs, tensors, strict=True)
        }
