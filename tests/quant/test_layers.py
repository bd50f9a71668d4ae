"""Which layers a plan speaks of, and how they are rounded by default."""

from __future__ import annotations

from torch import nn

from edgecap.models.adapter import QuantSpec
from edgecap.quant.layers import exceptions, find_layers


def test_kernels_over_frames_stay_float_and_those_of_images_are_stored_as_int8() -> None:
    model = nn.Sequential(nn.Conv3d(3, 8, 2), nn.Conv2d(3, 8, 2), nn.Linear(8, 8))
    layers = find_layers(model, QuantSpec())
    assert [info.operation for info in layers.values()] == ["conv3d", "conv2d", "linear"]
    assert tuple(layers["0"].weight(model).shape) == (8, 3 * 2**3)
    kinds = {"0": "fp32", "1": "w8_dequant"}
    assert exceptions(layers, QuantSpec()) == {"w8": kinds, "w8a8": kinds}
