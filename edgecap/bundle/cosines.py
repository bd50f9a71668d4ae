"""How alike rows of numbers are."""

from __future__ import annotations

import numpy as np


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the rows along X of two arrays [N,…,X]: f64 [N,…].

    Two rows of zeros are alike, one is like nothing else; rows that are no numbers give -1.
    """
    wide, other = a.astype(np.float64), b.astype(np.float64)
    dot = (wide * other).sum(-1)  # [N,…]
    norms = np.linalg.norm(wide, axis=-1) * np.linalg.norm(other, axis=-1)
    alike = np.where(norms > 0, dot / np.maximum(norms, 1e-300), (wide == other).all(-1))
    return np.nan_to_num(alike, nan=-1.0)
