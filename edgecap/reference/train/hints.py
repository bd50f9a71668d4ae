"""Dense supervision for training alone: what is where. Not part of any export.

B images   P patches   D width   F facts asked of a patch
Q images with texts   E embedding   K things of a scene at most (7)   C claims

Words say little per image about where things are; drawn scenes know it for every patch. From a
middle layer, each patch is asked for the kind and the colour of the thing on it, for the four edges
of that thing's box, and how many things stand on each side of it and are smaller or bigger: what
relations are told from. Also how many of its name a list tells before it and after it: whoever says
"a star" must know by then whether there are two. And the image's embedding is asked where each
thing is, since a text's embedding can only ask for what is there; a claim of the text is shown
which question that is: "a is left of b" asks where b is less where a is, "a is the biggest" how
much a exceeds the others. The captioner itself keeps one way to give boxes: its words.
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
NONE = -1  # no colour, or no box: not asked
FACTS = 14  # F
MOST_OTHERS = 6
MOST_THINGS = MOST_OTHERS + 1
NAME_IDS = {name: i - 1 for name, i in CATEGORIES.items()}
PATCH = CaptionerConfig.patch_size
# Of a relation: which number of the other thing, or of nothing, is the larger (1) or smaller one.
AXES = {
    **{"left": (0, 1), "right": (0, -1), "above": (1, 1), "below": (1, -1)},
    **{"biggest": (2, -1), "smallest": (2, 1)},
}


def patch_hints(scene: Scene, origin: tuple[int, int]) -> np.ndarray:
    """int64 [P,F]: kind, colour, x0 y0 x1 y1 in bins of the model_input on which `origin` lies,
    others
    and namesakes.

    Others: how many of them are further left, right, up and down by their centre, smaller and
    bigger. Namesakes: how many are told before it and after it, by their left edge. A thing covers
    the patches that it fills by half, at least one; the topmost counts.
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


def seen_things(scene: Scene) -> np.ndarray:
    """float32 [K,4]: of each thing whose name is unique its number, centre x and y and size.

    Centre from -1 to 1 over the model_input; size, the root of the area, by how many halves of the
    scene's mean it exceeds that: what "the biggest" means, and as wide a range. Number -1 is no
    thing.
    """
    rows = np.full((MOST_THINGS, 4), NONE, np.float32)
    mean = np.mean([_size(thing.box) for thing in scene.things])
    for row, thing in zip(rows, unique(scene), strict=False):
        x0, y0, x1, y1 = thing.box
        place = np.array([x0 + x1, y0 + y1]) / CaptionerConfig.image_size - 1  # [2]
        row[:] = NAME_IDS[thing.name], *place, 2 * (_size(thing.box) / mean - 1)
    return rows


def _size(box: Box) -> float:
    x0, y0, x1, y1 = box
    return ((x1 - x0) * (y1 - y0)) ** 0.5


def question(relation: Relation | None) -> list[int]:
    """Numbers of the two things, axis and sign as in AXES; four times -1 of other relations.

    Of "the biggest" there is no other thing: -1.
    """
    if relation is None or relation.kind not in AXES:
        return [NONE] * 4
    first, second = (*(NAME_IDS[name] for name in (relation.subject, *relation.objects)), NONE)[:2]
    return [first, second, *AXES[relation.kind]]


def others(scene: Scene) -> np.ndarray:
    """int64 [things,6]: of each, how many are left, right, above, below, smaller, bigger."""
    x0, y0, x1, y1 = np.array([thing.box for thing in scene.things]).T  # each [things]
    measures = np.stack([x0 + x1, y0 + y1, (x1 - x0) * (y1 - y0)])  # [3,things]
    less = (measures[:, None] < measures[..., None]).sum(2)  # [3,things]
    more = (measures[:, None] > measures[..., None]).sum(2)  # [3,things]
    return np.stack([less, more], 1).reshape(6, -1).T.clip(max=MOST_OTHERS)


def namesakes(scene: Scene) -> np.ndarray:
    """int64 [things,2]: of each, how many of its name a list tells before it, and after it."""
    counts = {
        (mention.name, box): (before, mention.count - 1 - before)
        for mention in mentions(scene)
        for before, box in enumerate(mention.boxes)
    }
    rows = [counts[thing.name, thing.box] for thing in scene.things]
    return np.array(rows).clip(max=MOST_OTHERS)


class PatchHints(nn.Module):
    """Linear questions to patch states, and how wrong the answers are."""

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

        Namesakes are asked `late`: first each thing must be known, then compared with the others.
        The edges count as one question, and so do the numbers of others and those of namesakes.
        """
        x = self.norm(early).flatten(0, 1)  # [B*P,D]
        compared = self.late_norm(late).flatten(0, 1)  # [B*P,D]
        answers: Sequence[Tensor] = hints.flatten(0, 1).unbind(-1)  # F of [B*P]

        def wrong(logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
            """Mean over the questions [B*P] of the loss of their parts of `logits` [B*P,...]."""
            parts = zip(logits.float().chunk(len(targets), -1), targets, strict=True)
            losses = [
                F.cross_entropy(part, target, ignore_index=NONE, reduction="sum")
                for part, target in parts
            ]
            return torch.stack(losses).mean()

        return (
            wrong(self.kind(x), answers[:1])
            + wrong(self.color(x), answers[1:2])
            + wrong(self.edges(x), answers[2:6])
            + wrong(self.others(x), answers[6:12])
            + wrong(self.namesakes(compared), answers[12:])
        )


class EmbeddingHints(nn.Module):
    """A linear question to an image's embedding for every name: where is that thing, how large?"""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.scale = math.sqrt(embedding)  # an embedding of norm 1 has small numbers
        self.where = nn.Embedding(len(NAME_IDS), 3 * embedding)
        nn.init.normal_(self.where.weight, std=0.02)

    def forward(self, embedding: Tensor, seen: Tensor) -> Tensor:
        """Summed squared error of centre and size: embeddings [Q,E], seen_things [Q,K,4]."""
        Q, K, _ = seen.shape
        ids = seen[..., 0].long()  # [Q,K]
        asked = self.where(ids.clamp_min(0)).view(Q, K, 3, -1)  # [Q,K,3,E]
        told = (asked * embedding[:, None, None] * self.scale).sum(-1)  # [Q,K,3]
        wrong = (told.float() - seen[..., 1:]).square().sum(-1)  # [Q,K]
        return (wrong * (ids >= 0)).sum()

    def direction(self, questions: Tensor) -> Tensor:
        """What an image's embedding is multiplied with to answer questions int [C,4]: [C,E]."""
        subject, other, axis = questions[:, :3].clamp_min(0).unbind(1)  # each [C]
        where = self.where.weight.detach().unflatten(1, (3, -1))  # [names,3,E]
        beside = where[other, axis] * (questions[:, 1:2] >= 0)  # [C,E]
        return (beside - where[subject, axis]) * questions[:, 3:]
