"""How large a tensor may become."""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_COMPUTED = 1 << 31  # of one tensor: eight GiB in float32


def limited(sizes: Sequence[int]) -> Sequence[int]:
    """The sizes themselves; ValueError where their product is more than is computed."""
    if math.prod(sizes) > MAX_COMPUTED:
        raise ValueError(f"{math.prod(sizes):,} elements are more than {MAX_COMPUTED:,}")
    return sizes
