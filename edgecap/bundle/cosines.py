"""Cosine similarity of rows."""

from __future__ import annotations

import numpy as np


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of the rows along X of two arrays [N,…,X]: f64 [N,…].

    1 for two rows of zeros, 0 for one; -1 for rows with NaN or infinity.
    """
    wide, other = a.astype(np.float64), b.astype(np.float64)
    dot = (wide * other).sum(-1)  # [N,…]
    norms = np.linalg.norm(wide, axis=-1) * np.linalg.norm(other, axis=-1)
    cosine = np.where(norms > 0, dot / np.maximum(norms, 1e-300), (wide == other).all(-1))
    return np.nan_to_num(cosine, nan=-1.0)
