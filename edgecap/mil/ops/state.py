"""States: tensors that persist between calls. Arrays are replaced, never modified."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()


@dataclass
class Cell:
    """Holds the tensor of one state, in its computed dtype (see dtypes.py)."""

    array: np.ndarray


@OPS(exact=True)
def read_state(input: Cell) -> np.ndarray:
    return input.array


@OPS(exact=True)
def write_state(input: Cell, data: np.ndarray) -> tuple[()]:
    input.array = data.copy()  # `data` may belong to the caller
    return ()
