"""Dense supervision for training alone: what covers each patch. Not part of any export.

B images   P patches   D width

Words say little per picture about where things are; drawn scenes know it for every patch. From a
middle layer, each patch is asked for the kind and the colour of the thing on it and for the four
edges of that thing's box. The captioner itself keeps one way to give boxes: its words.
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.core.boxes import to_bins
from edgecap.core.config import CaptionerConfig
from edgecap.core.tokens import LOCATION_BINS
from edgecap.scenes.graph import COLORS, SHAPES, Scene
from edgecap.scenes.nouns import NOUNS

KINDS = {kind: i + 1 for i, kind in enumerate((*NOUNS, *SHAPES))}  # 0: background
COLOR_IDS = {color: i for i, color in enumerate(COLORS)}
NONE = -1  # no colour, or no box: not asked
PATCH = CaptionerConfig.patch_size


def patch_hints(scene: Scene, origin: tuple[int, int]) -> np.ndarray:
    """int64 [P,6]: kind, colour, and x0 y0 x1 y1 in bins of the canvas on which `origin` lies.

    A thing covers the patches that it fills by half, at least one; the topmost thing counts.
    """
    side = scene.size // PATCH
    hints = np.full((side, side, 6), NONE)
    hints[..., 0] = 0
    x, y = origin
    for thing in scene.things:
        x0, y0, x1, y1 = thing.box
        left, top = min(round(x0 / PATCH), side - 1), min(round(y0 / PATCH), side - 1)
        right, bottom = max(left + 1, round(x1 / PATCH)), max(top + 1, round(y1 / PATCH))
        name = thing.name
        bins = to_bins((x0 + x, y0 + y, x1 + x, y1 + y))
        row = (KINDS[name.noun], COLOR_IDS.get(name.color, NONE), *bins)
        hints[top:bottom, left:right] = row
    return hints.reshape(-1, 6)


class PatchHints(nn.Module):
    """Linear questions to patch states, and how wrong the answers are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.kind = nn.Linear(width, len(KINDS) + 1)
        self.color = nn.Linear(width, len(COLORS))
        self.edges = nn.Linear(width, 4 * LOCATION_BINS)

    def forward(self, x: Tensor, hints: Tensor) -> Tensor:
        """Summed cross-entropy of states [B,P,D]; hints int [B,P,6]; an edge counts a quarter."""
        x = self.norm(x).flatten(0, 1)  # [B*P,D]
        kind, color, *edges = hints.flatten(0, 1).unbind(-1)  # each [B*P]

        def wrong(logits: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(logits.float(), target, ignore_index=NONE, reduction="sum")

        bins = self.edges(x).chunk(4, -1)  # 4 of [B*P,bins]
        boxes = sum(wrong(logits, edge) for logits, edge in zip(bins, edges, strict=True))
        return wrong(self.kind(x), kind) + wrong(self.color(x), color) + boxes / 4
