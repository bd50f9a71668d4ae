"""A bench on a terminal: a line per target, and of its figures those that one looks at first.

Every other figure is in the report's files (report.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgecap.benchmarks.report import number, percent
from edgecap.benchmarks.runner import Row
from edgecap.benchmarks.statistics import Verdict

if TYPE_CHECKING:
    from rich.table import Table

Column = tuple[str, Callable[[Row], str]]


def _median(key: str) -> Callable[[Row], str]:
    return lambda row: number(row.times[key].p50 if key in row.times else None)


def _times_faster(row: Row) -> str:
    interval = row.times_faster.get("caption_ms")
    if interval is None:
        return "–"
    exact = interval.low == interval.high  # the first target against itself
    return (
        f"{interval.value:.2f}"
        if exact or interval.against(1) is not Verdict.UNDECIDED
        else "undecided"
    )


SPEED: tuple[Column, ...] = (
    ("size\nMB", lambda row: number(row.size_mb)),
    ("start\nms", lambda row: number(row.cold_start_ms, 0)),
    ("encode\nms", _median("encode_image_ms")),
    ("token\nms", _median("token_ms")),
    ("caption\nms", _median("caption_ms")),
    ("×\nfirst", _times_faster),
    ("peak\nMiB", lambda row: number(row.peak_rss_mb, 0)),
)
ACCURACY: tuple[Column, ...] = (
    ("same as\nfirst %", lambda row: percent(row.same_captions)),
    ("parity\n%", lambda row: percent(row.parity.get("captions"))),
    ("exact\n%", lambda row: percent(row.accuracy.get("exact"))),
    ("name\n%", lambda row: percent(row.accuracy.get("name"))),
    ("IoU ≥\n.75 %", lambda row: percent(row.accuracy.get("grounding_75"))),
    ("hard\npair %", lambda row: percent(row.accuracy.get("hard_pair"))),
)


def tables(rows: Sequence[Row]) -> list[Table]:
    """Speed, and accuracy where it was measured; a column that no target has is left out."""
    measured = [row for row in rows if row.times or row.accuracy]
    made = [_table(measured, columns) for columns in (SPEED, ACCURACY)]
    return [table for table in made if len(table.columns) > 1]


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("", min_width=23)
    cells = [[row.name] for row in rows]
    for title, figure in columns:
        values = [figure(row) for row in rows]
        if any(value != "–" for value in values):
            table.add_column(title, justify="right")
            for line, value in zip(cells, values, strict=True):
                line.append(value)
    for line in cells:
        table.add_row(*line)
    return table
