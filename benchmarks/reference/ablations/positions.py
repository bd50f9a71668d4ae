"""2D against 1D positions: a vector per row and per column, or one per patch.

B batch   G patches a side of the model_input   P = G*G   g patches a side of a window   D width

Both know every place; 2D shares what it learns along rows and columns, 1D learns each place alone.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.benchmarks.reference.ablations.experiment import (
    CURRICULUM_RUN,
    FULL,
    FULL_RUN,
    Ablation,
    Arm,
    Row,
)
from edgecap.reference.config import SIZES, CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel


class OneAxis(CaptionModel):
    """Patches numbered line by line, a vector for each number (ViT, arXiv 2010.11929)."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        del self.row, self.column
        self.position = nn.Parameter(torch.empty(config.patches, config.width))  # [P,D]
        # As much as a row and a column together.
        nn.init.normal_(self.position, std=0.02 * math.sqrt(2))

    def position_embedding(self, g: int, corner: Tensor | None) -> Tensor:
        """Positions of g x g patches, [1,g*g,D] or [B,g*g,D]."""
        if corner is None:
            corner = torch.zeros(1, 2, dtype=torch.int64, device=self.position.device)  # [1,2]
        span = torch.arange(g, device=corner.device)  # [g]
        row, column = corner[:, :1] + span, corner[:, 1:] + span  # [B,g]
        number = row[:, :, None] * self.config.grid + column[:, None]  # [B,g,g]
        return F.embedding(number.flatten(1), self.position)  # [B,g*g,D]


class Unplaced(CaptionModel):
    """No positions: an upper bound on how much the others could differ."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        del self.row, self.column

    def position_embedding(self, g: int, corner: Tensor | None) -> Tensor:
        """Nothing, [D]."""
        return torch.zeros_like(self.final_norm.weight)


def facts() -> list[Row]:
    """Position parameters of patches, in the named sizes."""
    rows = []
    for name, config in SIZES.items():
        two, one = 2 * config.grid * config.width, config.patches * config.width
        rows += [
            {"name": f"{name}, 2D", "parameters of positions": two},
            {"name": f"{name}, 1D", "parameters of positions": one},
        ]
    return rows


ABLATION = Ablation(
    name="positions",
    claim="2D positions serve better than 1D ones, above all from 112 px windows to 224 px scenes.",
    rule="Equal images, in the same order, and equal first weights of all else; 1D has 168 more "
    "vectors of position. Windows lie anywhere on the model_input, so both learn every place.",
    images=12_000,  # with half of them no box is found yet, and no arm differs
    arms=(
        Arm("2D, 112→224", FULL, CURRICULUM_RUN),
        Arm("1D, 112→224", FULL, CURRICULUM_RUN, OneAxis),
        Arm("none, 112→224", FULL, CURRICULUM_RUN, Unplaced),
        Arm("2D, 224", FULL, FULL_RUN),
        Arm("1D, 224", FULL, FULL_RUN, OneAxis),
    ),
    keys=("loss", "name", "grounding_50", "miou_named"),
    contrasts=(
        ("2D, 112→224", "1D, 112→224"),
        ("2D, 112→224", "none, 112→224"),
        ("2D, 224", "1D, 224"),
    ),
    facts=facts,
    facts_about="Size of the tables.",
)
