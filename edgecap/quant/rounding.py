"""Rounding of weights, the same for every format: one float matrix, one answer.

Letters: N outputs (rows), D inputs of a linear layer; for the token table N = V.
"""

from __future__ import annotations

import numpy as np


def rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [N,D] to int8 [N,D] and the scale float32 [N]: weight ≈ int8 * scale[:, None].

    A row of zeros gets the scale 1 and comes back as zeros.
    """
    largest = np.abs(weight).max(axis=1)  # [N]
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)  # [N]
    return np.rint(weight / scale[:, None]).astype(np.int8), scale
