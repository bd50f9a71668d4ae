"""Moving outliers from activations, which int8 rounds as they come, into weights.

A channel of a linear layer's input is divided by s and the matching column of its weights is
multiplied by it (SmoothQuant, arXiv 2211.10438). The division is free where something linear comes
before: the gain of a LayerNorm, or the value rows of the attention. In float nothing changes.

Letters: D width, N outputs of a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from edgecap.model.captioner import Block, Captioner

STRENGTH = 0.5  # share of the burden that goes to the weights, as in the paper


def smooth(model: Captioner, exercise: Callable[[], object]) -> Captioner:
    """A copy of `model` that gives the same outputs and rounds better.

    `exercise` runs `model` on typical pictures and captions.
    """
    largest = _input_ranges(model, exercise)
    smoothed = copy.deepcopy(model)
    D = model.config.width
    for i, block in enumerate(_blocks(smoothed)):
        for linear, norm in (
            (block.qkv, block.attention_norm),
            (block.mlp_in, block.mlp_norm),
        ):
            name = "qkv" if linear is block.qkv else "mlp_in"
            s = _factors(largest[i, name], linear.weight)  # [D]
            linear.weight.mul_(s)  # [N,D]
            norm.weight.div_(s)  # [D]
            norm.bias.div_(s)
        s = _factors(largest[i, "attention_out"], block.attention_out.weight)  # [D]
        block.attention_out.weight.mul_(s)  # [D,D]
        block.qkv.weight[2 * D :].div_(s[:, None])  # the rows of v, [D,D]
    return smoothed


def _input_ranges(
    model: Captioner, exercise: Callable[[], object]
) -> dict[tuple[int, str], Tensor]:
    """Largest absolute value of every input channel [D], by block and layer."""
    import torch

    largest: dict[tuple[int, str], Tensor] = {}

    def watch(key: tuple[int, str]) -> Callable[[object, tuple[Tensor, ...]], None]:
        def hook(_: object, inputs: tuple[Tensor, ...]) -> None:
            seen = inputs[0].flatten(0, -2).abs().amax(0)  # [D]
            largest[key] = torch.maximum(largest[key], seen) if key in largest else seen

        return hook

    handles = [
        getattr(block, name).register_forward_pre_hook(watch((i, name)))
        for i, block in enumerate(_blocks(model))
        for name in ("qkv", "attention_out", "mlp_in")
    ]
    try:
        exercise()
    finally:
        for handle in handles:
            handle.remove()
    return largest


def _factors(activation: Tensor, weight: Tensor) -> Tensor:
    """s [D] from the ranges of input channels [D] and the weights [N,D]."""
    column = weight.abs().amax(0)  # [D]
    s = activation.clamp_min(1e-5) ** STRENGTH / column.clamp_min(1e-5) ** (1 - STRENGTH)  # [D]
    return s.clamp(1e-2, 1e2).to(weight.dtype)


def _blocks(model: Captioner) -> list[Block]:
    return list(model.blocks)
