"""The reference's plans are those that were made when its rules were code instead of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecap.quant.plan import read_plan
from edgecap.quant.samples import CalibrationSpec
from edgecap.reference.quant import calibrate

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(("precision", "observer"), [("w8a8", None), ("w8", "mse")])
def test_plans_are_as_they_were(tiny: Any, precision: str, observer: str | None) -> None:
    old = read_plan(DATA / f"reference_{precision}.json")  # says w8f, and no exceptions
    spec = CalibrationSpec(images=16, observer=observer)
    new = calibrate(
        tiny.model,
        tiny.calibration_set,
        spec,
        model="tiny",
        weights="0" * 64,
        precision=precision,
    )
    assert list(new.layers) == list(old.layers)
    later = {n for n in new.layers if n.endswith("attention_out")}  # float inputs since 2026-11-29
    assert {n: layer.kind for n, layer in new.layers.items()} == {
        n: "w8_dequant" if n in later and precision == "w8" else layer.kind
        for n, layer in old.layers.items()
    }
    widened = old.exceptions["w8"] | dict.fromkeys(later, "w8_dequant")
    assert new.exceptions == old.exceptions | {"w8": widened}
    assert new.precision == old.precision == precision
    assert new.smoothing.keys() == old.smoothing.keys()
    for name, divisors in old.smoothing.items():  # another processor sums in another order
        assert new.smoothing[name] == pytest.approx(divisors, rel=1e-3)
    for name, layer in old.layers.items():
        assert new.layers[name].functions.keys() == layer.functions.keys()
        for function, grids in layer.functions.items():
            got = new.layers[name].functions[function]
            for a, b in ((got.input, grids.input), (got.output, grids.output)):
                assert a.scale == pytest.approx(b.scale, rel=1e-2)
                assert abs(a.zero_point - b.zero_point) <= 1
