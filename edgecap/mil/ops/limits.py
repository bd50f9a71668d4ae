"""The size limit of computed tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_COMPUTED = 1 << 31  # elements of one tensor: 8 GiB in float32


def limited(sizes: Sequence[int]) -> Sequence[int]:
    """The same sizes; ValueError if their product exceeds MAX_COMPUTED."""
    if math.prod(sizes) > MAX_COMPUTED:
        raise ValueError(f"{math.prod(sizes):,} elements are more than {MAX_COMPUTED:,}")
    return sizes
