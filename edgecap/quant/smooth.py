"""Moving outliers from activations, which int8 rounds coarsely, into weights.

A channel of a linear layer's input is divided by s and the matching column of its weights is
multiplied by it (SmoothQuant, arXiv 2211.10438). The division is free where something linear comes
before: the gain of a LayerNorm, or the value rows of the attention. In float nothing changes.

Letters: D width, N outputs of a layer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from edgecap.reference.model.captioner import CaptionModel

STRENGTH = 0.5  # share of the burden that goes to the weights, as in the paper
_SMOOTHED = ("qkv", "mlp_in", "attention_out")


def can_smooth(layer: str) -> bool:
    """Whether something linear comes before a layer, by its name."""
    return layer.rpartition(".")[2] in _SMOOTHED


def factors(model: CaptionModel, largest: Mapping[str, Tensor]) -> dict[str, tuple[float, ...]]:
    """s [D] of every layer that can be smoothed.

    `largest` gives, by layer, the largest absolute value [D] of each input channel.
    """
    found = {}
    for i in range(len(model.blocks)):
        for child in _SMOOTHED:
            name = f"blocks.{i}.{child}"
            column = model.get_submodule(name).weight.abs().amax(0).clamp_min(1e-5)  # [D]
            s = largest[name].clamp_min(1e-5) ** STRENGTH / column ** (1 - STRENGTH)  # [D]
            found[name] = tuple(s.clamp(1e-2, 1e2).tolist())
    return found


def smooth(model: CaptionModel, divisors: Mapping[str, Sequence[float]]) -> CaptionModel:
    """A copy of `model` that gives the same outputs and rounds better; `divisors` by layer."""
    import torch

    smoothed = copy.deepcopy(model)
    D = model.config.width
    with torch.no_grad():
        for name, values in divisors.items():
            s = torch.tensor(values)  # [D]
            parent, _, child = name.rpartition(".")
            block = smoothed.get_submodule(parent)
            getattr(block, child).weight.mul_(s)  # [N,D]
            if child == "attention_out":
                block.qkv.weight[2 * D :].div_(s[:, None])  # the rows of v, [D,D]
            else:
                norm = block.attention_norm if child == "qkv" else block.mlp_norm
                norm.weight.div_(s)  # [D]
                norm.bias.div_(s)
    return smoothed
