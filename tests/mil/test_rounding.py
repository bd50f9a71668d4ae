"""Rounding to float16 is NumPy's, for any bits and around every value."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecap.mil.rounding import round_fp16

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=50))
@settings(deadline=None)
def test_rounding_is_numpys(bits: list[int]) -> None:
    few = np.array(bits, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        many = np.resize(few, 4096)
        for values in (few, many, many.reshape(64, 64).T):
            expected = values.astype(np.float16).astype(np.float32)
            np.testing.assert_array_equal(round_fp16(values), expected)


def test_rounding_around_every_fp16_value() -> None:
    with np.errstate(all="ignore"):
        exact = HALVES.astype(np.float32)
        middle = ((exact[:-1].astype(np.float64) + exact[1:]) / 2).astype(np.float32)
        up, down = np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, -np.float32(9e9))
        values = np.concatenate([exact, middle, up, down])
        found, expected = round_fp16(values), values.astype(np.float16).astype(np.float32)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(found[known].view(np.uint32), expected[known].view(np.uint32))
    assert np.isnan(found[~known]).all()
