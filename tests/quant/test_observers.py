"""Grids from values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgecap.quant.observers import OBSERVERS, Extremes, Histogram
from edgecap.quant.params import HIGH, LOW, QuantParams, span
from edgecap.quant.samples import OBSERVER_NAMES

floats = st.floats(-1e4, 1e4, width=32)


def rounded(grid: QuantParams, x: np.ndarray) -> np.ndarray:
    q = np.clip(np.rint(x / grid.scale) + grid.zero_point, LOW, HIGH)
    return (q - grid.zero_point) * grid.scale


def seen(values: torch.Tensor) -> Histogram:
    ends = Extremes()
    for part in values.chunk(3):
        ends.update(part)
    found = Histogram(ends.low, ends.high)
    for part in values.chunk(3):
        found.update(part)
    return found


@given(floats, floats)
def test_a_span_holds_its_ends_and_zero(a: float, b: float) -> None:
    grid = span(min(a, b), max(a, b))
    assert LOW <= grid.zero_point <= HIGH and grid.scale > 0
    assert rounded(grid, np.array([0.0]))[0] == 0
    # An end may lie half a step outside, because zero must lie on the grid.
    assert np.abs(rounded(grid, np.array([a, b])) - [a, b]).max() <= grid.scale * 1.001


def test_observers_are_those_that_are_offered() -> None:
    assert set(OBSERVERS) == set(OBSERVER_NAMES)


def test_observers_differ_by_what_they_do_with_outliers() -> None:
    torch.manual_seed(0)
    values = torch.randn(200_000)
    values[:5] = 60.0
    found = {name: choose(seen(values)) for name, choose in OBSERVERS.items()}
    x = values.double().numpy()
    error = {name: ((rounded(grid, x) - x) ** 2).mean() for name, grid in found.items()}
    assert rounded(found["minmax"], np.array([60.0]))[0] == pytest.approx(60, abs=0.2)
    assert rounded(found["percentile"], np.array([60.0]))[0] < 5
    assert error["mse"] <= min(error.values()) * 1.01
    inner = x[5:]
    spread = {n: ((rounded(g, inner) - inner) ** 2).mean() for n, g in found.items()}
    assert spread["percentile"] < spread["minmax"] / 50


@pytest.mark.parametrize("name", OBSERVER_NAMES)
def test_a_tensor_of_zeros_has_a_grid(name: str) -> None:
    grid = OBSERVERS[name](seen(torch.zeros(10)))
    assert grid.scale > 0
    assert rounded(grid, np.zeros(1))[0] == 0
