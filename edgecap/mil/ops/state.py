"""States: tensors that live longer than a call. Cells are replaced, never written into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecap.mil.ops.registry import Registry

OPS = Registry()


@dataclass
class Cell:
    """Where one state's tensor is kept, in the evaluator's own form (see dtypes.computed)."""

    array: np.ndarray


@OPS(exact=True)
def read_state(input: Cell) -> np.ndarray:
    return input.array


@OPS(exact=True)
def write_state(input: Cell, data: np.ndarray) -> tuple[()]:
    input.array = data.copy()  # which may be the caller's own
    return ()
