"""Two against four location tokens: cells of corners, or edges.

Four: x0 y0 x1 y1 from 57 edges that lie 4 px apart. Two, as Kosmos-2 has it: the cell of the upper
left corner and that of the lower right one, read as their centres; its grid is 32 x 32, the one
trained here 28 x 28 (8 px), because its centres lie on the 57 edges and both arms can be read and
scored alike. A cell is one of 784 tokens, an edge one of 57.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edgecap.benchmarks.reference.ablations.experiment import (
    CURRICULUM_RUN,
    FULL,
    Ablation,
    Arm,
    Row,
)
from edgecap.core.boxes import iou
from edgecap.reference.boxes import from_bins, to_bins
from edgecap.reference.scenes.graph import Box, Statement
from edgecap.reference.scenes.splits import drawing
from edgecap.reference.tokens import FIRST_LOCATION_ID, LOCATION_BINS
from edgecap.reference.train.data import SceneBatches

MODEL_INPUT = 224  # px
GRID = 28  # cells a side
FIRST_CELL_ID = FULL.vocabulary  # cells stand behind the shipped vocabulary
SCENES = 1000  # whose boxes measure the ceilings
# Of a box's longer side, px.
SIDES = (("< 48 px", 0, 48), ("48–80 px", 48, 80), ("≥ 80 px", 80, MODEL_INPUT))
_EDGES = range(FIRST_LOCATION_ID, FIRST_LOCATION_ID + LOCATION_BINS)


def to_cells(box: Box, grid: int = GRID) -> tuple[int, int]:
    """The cells, counted line by line, whose centres are nearest to a box's two corners."""
    x0, y0, x1, y1 = (min(int(edge * grid / MODEL_INPUT), grid - 1) for edge in box)
    return y0 * grid + x0, y1 * grid + x1


def from_cells(first: int, second: int, grid: int = GRID) -> Box:
    """The box between the centres of two cells, px of the model_input."""
    cell = MODEL_INPUT / grid
    (y0, x0), (y1, x1) = (divmod(number, grid) for number in (first, second))
    return (x0 + 0.5) * cell, (y0 + 0.5) * cell, (x1 + 0.5) * cell, (y1 + 0.5) * cell


class CellBatches(SceneBatches):
    """The same captions with two tokens a box."""

    def caption_ids(self, text: str, statement: Statement) -> list[int]:
        """As of SceneBatches; cells are of the exact boxes, not of their edges' bins."""
        boxes = (box for mention in statement.mentions for box in mention.boxes)
        return [
            token
            for words, run in runs(super().caption_ids(text, statement))
            for token in (
                *words,
                *(FIRST_CELL_ID + cell for _ in run[::4] for cell in to_cells(next(boxes))),
            )
        ]


def runs(tokens: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Tokens as words and the edges after them, in turns."""
    words: list[int] = []
    edges: list[int] = []
    for token in tokens:
        if token in _EDGES:
            edges.append(token)
            continue
        if edges:
            yield words, edges
            words, edges = [], []
        words.append(token)
    yield words, edges


def cells_to_edges(tokens: Sequence[int]) -> list[int]:
    """Generated tokens with four edges for every two cells.

    A cell that has no other becomes a lone edge, which counts as a malformed box.
    """
    read: list[int] = []
    place = 0
    while place < len(tokens):
        pair = [token - FIRST_CELL_ID for token in tokens[place : place + 2]]
        if pair[0] < 0:
            read.append(tokens[place])
            place += 1
        elif len(pair) == 2 and pair[1] >= 0:
            read += (FIRST_LOCATION_ID + bin_ for bin_ in to_bins(from_cells(*pair)))
            place += 2
        else:
            read.append(FIRST_LOCATION_ID)
            place += 1
    return read


def facts() -> list[Row]:
    """Ceilings: mean IoU of true boxes with what a scheme can write of them, by size."""
    boxes = [thing.box for i in range(SCENES) for thing in drawing("val", i).scene.things]
    sides = np.array([max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes])
    rows = []
    for grid in (0, GRID, 32, 14):  # 0: four edges
        overlaps = np.array([iou(box, _written(box, grid)) for box in boxes])
        name = f"2 tokens of {grid * grid} cells" if grid else f"4 tokens of {LOCATION_BINS} edges"
        ceilings = {
            label: round(float(overlaps[(low <= sides) & (sides < high)].mean()), 3)
            for label, low, high in SIDES
        }
        rows.append({"name": name, **ceilings})
    return rows


def _written(box: Box, grid: int) -> Box:
    return from_cells(*to_cells(box, grid), grid) if grid else from_bins(to_bins(box))


ABLATION = Ablation(
    name="locations",
    claim="Four tokens of 57 edges place boxes better than two tokens of cells, above all small "
    "ones.",
    rule="Equal images and windows, so unequal words: two tokens a box fewer leave room for more "
    "captions in a row. Two tokens need 784 rows more in the table.",
    images=12_000,  # as of positions, whose first arm is this one's first too
    arms=(
        Arm("4 tokens", FULL, CURRICULUM_RUN),
        Arm(
            "2 tokens",
            replace(FULL, vocabulary=FULL.vocabulary + GRID**2),
            CURRICULUM_RUN,
            batches=CellBatches,
            as_edges=cells_to_edges,
        ),
    ),
    keys=("name", "grounding_50", "grounding_75", "miou_named"),
    contrasts=(("4 tokens", "2 tokens"),),
    facts=facts,
    facts_about=f"Ceilings: mean IoU of the true boxes of {SCENES:,} scenes, by their longer side, "
    "with the nearest box that a scheme can write.",
    drawn=(SIDES[0][0], SIDES[-1][0]),
)
