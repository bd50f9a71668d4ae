"""Low-rank updates of the blocks' matrices (LoRA, arXiv 2106.09685), as parametrizations.

    O, I  a matrix's outputs and inputs   r  rank   N  new rows of the token table
    V, D  vocabulary and width

The model's code is unchanged: reading a weight gives the updated one, and `merge` restores a plain
model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgecap.core.errors import InputError
from edgecap.reference.model.captioner import CaptionModel

_MATRICES = ("qkv", "attention_out", "mlp_in", "mlp_out")


class LowRank(nn.Module):
    """W + up down; initially W, because up is zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        O, I = weight.shape  # noqa: E741
        self.down = nn.Parameter(torch.randn(rank, I, device=weight.device) / I**0.5)  # [r,I]
        self.up = nn.Parameter(weight.new_zeros(O, rank))  # [O,r]

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down  # [O,I]


class Rows(nn.Module):
    """A table of which only some rows are trained."""

    def __init__(self, weight: Tensor, ids: Tensor) -> None:
        super().__init__()
        self.register_buffer("ids", ids)  # int64 [N]
        self.rows = nn.Parameter(weight[ids].clone())  # [N,D]

    def forward(self, weight: Tensor) -> Tensor:
        return weight.index_copy(0, self.ids, self.rows)  # [V,D]


def check_rank(model: CaptionModel, rank: int) -> None:
    """Raise InputError (lora.rank) for a rank that is not below the model's width."""
    if not 1 <= rank < model.config.width:
        raise InputError(
            "lora.rank", f"the rank must be in 1 … {model.config.width - 1}, got {rank}."
        )


def attach(model: CaptionModel, rank: int, ids: list[int]) -> None:
    """Make trainable only an update of `rank` to each matrix and the token table's rows `ids`."""
    check_rank(model, rank)
    attach_rows(model, ids)
    for block in model.blocks:
        for name in _MATRICES:
            linear = getattr(block, name)
            update = LowRank(linear.weight, rank)
            parametrize.register_parametrization(linear, "weight", update)


def attach_rows(model: CaptionModel, ids: list[int]) -> None:
    """Make trainable only the token table's rows `ids`."""
    model.requires_grad_(False)
    device = model.token.weight.device
    index = torch.tensor(ids, dtype=torch.int64, device=device)  # [N]
    rows = Rows(model.token.weight, index)
    parametrize.register_parametrization(model.token, "weight", rows)


def merge(model: CaptionModel) -> None:
    """Write the updates into the weights; the model is a plain one again."""
    linears = [getattr(block, name) for block in model.blocks for name in _MATRICES]
    for module in (*linears, model.token):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
