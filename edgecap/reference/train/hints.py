"""Dense auxiliary supervision in training: what is where. Not part of any export.

B images   P patches   D width   F facts per patch
Q images with texts   E embedding   K things per scene at most (7)   C claims

A caption says little about where things are; drawn scenes provide it for every patch. From a middle
layer, each patch predicts kind and colour of the thing on it, the four edges of that thing's box,
and how many things are on each side of it, smaller or bigger, which is what relations need. It also
predicts how many things of the same name a caption lists before and after it, because the phrase
"a star" requires knowing whether there are two. The image embedding predicts where each thing is,
and a claim's embedding is aligned with the direction that answers it: "a is left of b" with the
position of b minus that of a, "a is the biggest" with the size of a. The captioner itself still
gives boxes as tokens only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.reference.boxes import to_bins
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.scenes.dataset import CATEGORIES
from edgecap.reference.scenes.describe import mentions
from edgecap.reference.scenes.graph import COLORS, SHAPES, Box, Relation, Scene
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.relations import unique
from edgecap.reference.tokens import LOCATION_BINS

KINDS = {kind: i + 1 for i, kind in enumerate((*NOUNS, *SHAPES))}  # 0: background
COLOR_IDS = {color: i for i, color in enumerate(COLORS)}
NONE = -1  # no colour or no box: ignored
FACTS = 14  # F
MOST_OTHERS = 6
MOST_THINGS = MOST_OTHERS + 1
NAME_IDS = {name: i - 1 for name, i in CATEGORIES.items()}
PATCH = CaptionerConfig.patch_size
# Relation -> (axis of centre or size, 1 where the other thing's value is larger, -1 smaller).
AXES = {
    **{"left": (0, 1), "right": (0, -1), "above": (1, 1), "below": (1, -1)},
    **{"biggest": (2, -1), "smallest": (2, 1)},
}


def patch_hints(scene: Scene, origin: tuple[int, int]) -> np.ndarray:
    """int64 [P,F]: kind, colour, box edges in bins of the model input, others and namesakes.

    `origin` is the window's corner on the model input, px. Others: how many things are left, right,
    above and below by their centres, smaller and bigger. Namesakes: how many of the same name are
    listed before and after it. A thing covers the patches that it fills by half, at least one; the
    topmost thing counts.
    """
    side = scene.size // PATCH
    hints = np.full((side, side, FACTS), NONE)
    hints[..., 0] = 0
    x, y = origin
    for thing, counts, alike in zip(scene.things, others(scene), namesakes(scene), strict=True):
        x0, y0, x1, y1 = thing.box
        left, top = min(round(x0 / PATCH), side - 1), min(round(y0 / PATCH), side - 1)
        right, bottom = max(left + 1, round(x1 / PATCH)), max(top + 1, round(y1 / PATCH))
        name = thing.name
        bins = to_bins((x0 + x, y0 + y, x1 + x, y1 + y))
        row = (KINDS[name.noun], COLOR_IDS.get(name.color, NONE), *bins, *counts, *alike)
        hints[top:bottom, left:right] = row
    return hints.reshape(side * side, -1)


def thing_positions(scene: Scene) -> np.ndarray:
    """float32 [K,4]: name id, centre x and y, and size of each thing with a unique name.

    The centre is from -1 to 1 over the model input. The size is 2 (r / mean - 1), where r is the
    root of the area and the mean is over the scene: about the range of the centre. Id -1: none.
    """
    rows = np.full((MOST_THINGS, 4), NONE, np.float32)
    mean = np.mean([_size(thing.box) for thing in scene.things])
    for row, thing in zip(rows, unique(scene), strict=False):
        x0, y0, x1, y1 = thing.box
        centre = np.array([x0 + x1, y0 + y1]) / CaptionerConfig.image_size - 1  # [2]
        row[:] = NAME_IDS[thing.name], *centre, 2 * (_size(thing.box) / mean - 1)
    return rows


def _size(box: Box) -> float:
    x0, y0, x1, y1 = box
    return ((x1 - x0) * (y1 - y0)) ** 0.5


def question(relation: Relation | None) -> list[int]:
    """Name ids of the two things, axis and sign as in AXES; four times -1 for other relations.

    "biggest" and "smallest" have no second thing: -1.
    """
    if relation is None or relation.kind not in AXES:
        return [NONE] * 4
    first, second = (*(NAME_IDS[name] for name in (relation.subject, *relation.objects)), NONE)[:2]
    return [first, second, *AXES[relation.kind]]


def others(scene: Scene) -> np.ndarray:
    """int64 [things,6]: for each, how many are left, right, above, below, smaller, bigger."""
    x0, y0, x1, y1 = np.array([thing.box for thing in scene.things]).T  # each [things]
    measures = np.stack([x0 + x1, y0 + y1, (x1 - x0) * (y1 - y0)])  # [3,things]
    less = (measures[:, None] < measures[..., None]).sum(2)  # [3,things]
    more = (measures[:, None] > measures[..., None]).sum(2)  # [3,things]
    return np.stack([less, more], 1).reshape(6, -1).T.clip(max=MOST_OTHERS)


def namesakes(scene: Scene) -> np.ndarray:
    """int64 [things,2]: for each, how many of its name are listed before and after it."""
    counts = {
        (mention.name, box): (before, mention.count - 1 - before)
        for mention in mentions(scene)
        for before, box in enumerate(mention.boxes)
    }
    rows = [counts[thing.name, thing.box] for thing in scene.things]
    return np.array(rows).clip(max=MOST_OTHERS)


class PatchHints(nn.Module):
    """Linear probes on patch states, with their losses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.late_norm = nn.LayerNorm(width)
        self.kind = nn.Linear(width, len(KINDS) + 1)
        self.color = nn.Linear(width, len(COLORS))
        self.edges = nn.Linear(width, 4 * LOCATION_BINS)
        self.others = nn.Linear(width, 6 * (MOST_OTHERS + 1))
        self.namesakes = nn.Linear(width, 2 * (MOST_OTHERS + 1))

    def forward(self, early: Tensor, late: Tensor, hints: Tensor) -> Tensor:
        """Summed cross-entropy of states [B,P,D]; hints int [B,P,F].

        Namesakes are probed on `late`: things are recognised first, then compared. The four edges
        count as one target, and so do the numbers of others and those of namesakes.
        """
        x = self.norm(early).flatten(0, 1)  # [B*P,D]
        compared = self.late_norm(late).flatten(0, 1)  # [B*P,D]
        facts: Sequence[Tensor] = hints.flatten(0, 1).unbind(-1)  # F of [B*P]

        def loss(logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
            """Mean over `targets`, each [B*P], of the loss of its slice of `logits` [B*P,…]."""
            parts = zip(logits.float().chunk(len(targets), -1), targets, strict=True)
            losses = [
                F.cross_entropy(part, target, ignore_index=NONE, reduction="sum")
                for part, target in parts
            ]
            return torch.stack(losses).mean()

        return (
            loss(self.kind(x), facts[:1])
            + loss(self.color(x), facts[1:2])
            + loss(self.edges(x), facts[2:6])
            + loss(self.others(x), facts[6:12])
            + loss(self.namesakes(compared), facts[12:])
        )


class EmbeddingHints(nn.Module):
    """A linear probe on the image embedding for every name: position and size of that thing."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.scale = math.sqrt(embedding)  # the components of an embedding of norm 1 are small
        self.where = nn.Embedding(len(NAME_IDS), 3 * embedding)
        nn.init.normal_(self.where.weight, std=0.02)

    def forward(self, embedding: Tensor, positions: Tensor) -> Tensor:
        """Summed squared error of centre and size: embeddings [Q,E], thing_positions [Q,K,4]."""
        Q, K, _ = positions.shape
        ids = positions[..., 0].long()  # [Q,K]
        probes = self.where(ids.clamp_min(0)).view(Q, K, 3, -1)  # [Q,K,3,E]
        predicted = (probes * embedding[:, None, None] * self.scale).sum(-1)  # [Q,K,3]
        error = (predicted.float() - positions[..., 1:]).square().sum(-1)  # [Q,K]
        return (error * (ids >= 0)).sum()

    def direction(self, questions: Tensor) -> Tensor:
        """Directions in the image embedding that answer questions int [C,4]: [C,E]."""
        subject, other, axis = questions[:, :3].clamp_min(0).unbind(1)  # each [C]
        where = self.where.weight.detach().unflatten(1, (3, -1))  # [names,3,E]
        other_where = where[other, axis] * (questions[:, 1:2] >= 0)  # [C,E]
        return (other_where - where[subject, axis]) * questions[:, 3:]
