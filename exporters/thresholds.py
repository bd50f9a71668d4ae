"""From what size on a constant is worth making smaller, in every format alike."""

from __future__ import annotations

WIDE_ELEMENTS = 1 << 10  # smaller constants stay float32
TABLE_ELEMENTS = 1 << 15  # a smaller table that is only looked up in is not worth quantising
