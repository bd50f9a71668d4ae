"""A converter that lies is caught, with the place where it does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgecap.core.errors import GateError
from edgecap.exporters import verify
from edgecap.exporters.contract import Function
from edgecap.exporters.quiet import quiet
from edgecap.exporters.tflite import convert as to_tflite


class OneKeyHead(nn.Module):
    """Four query heads and one key head, repeated as transformers does it (multi-query)."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        repeated = k[:, :, None].expand(1, 1, 4, 20, 16).reshape(1, 4, 20, 16)
        return q @ repeated.transpose(2, 3)  # [1,4,N,20]


def function(module: nn.Module) -> Function:
    inputs = {"q": torch.zeros(1, 4, 1, 16), "k": torch.zeros(1, 1, 20, 16)}
    return Function("decode", module.eval(), inputs, ("scores",), {})


def test_one_key_head_is_converted_wrongly_and_noticed() -> None:
    """litert-torch 0.10 broadcasts what was repeated; a version that does not needs no check."""
    with pytest.raises(GateError) as caught, quiet():
        to_tflite.convert([function(OneKeyHead())])
    assert caught.value.code == "export.conversion"
    assert "tflite converter changed what decode computes: scores is" in caught.value.message
    assert "where PyTorch gives" in caught.value.message


@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_one_wrong_element_is_named(wrong: float) -> None:
    made = function(OneKeyHead())
    right = made.eager(made.random_inputs())["scores"]
    verify.verify_converted(made, lambda _: {"scores": right + 1e-6}, "onnx")
    off = right.copy()
    off[0, 2, 0, 7] += wrong * right.std()
    with pytest.raises(GateError, match=r"at \[0, 2, 0, 7\]"):
        verify.verify_converted(made, lambda _: {"scores": off}, "onnx")


def test_grids_excuse_one_value_and_not_all() -> None:
    made = function(OneKeyHead())
    right = made.eager(made.random_inputs())["scores"]
    one, every = right.copy(), right + 0.3 * right.std()
    one[0, 0, 0, 0] += 0.9 * right.std()
    verify.verify_converted(made, lambda _: {"scores": one}, "coreml static")
    with pytest.raises(GateError, match="on average"):
        verify.verify_converted(made, lambda _: {"scores": every}, "coreml static")


def test_a_wrong_shape_is_refused() -> None:
    made = function(OneKeyHead())
    with pytest.raises(GateError, match="of shape"):
        verify.verify_converted(made, lambda _: {"scores": np.zeros((1, 4, 20))}, "onnx")
