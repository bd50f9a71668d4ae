"""Reports of a bench: table, JSON, CSV, Markdown, and a directory with a plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.benchmarks.protocol import BenchPlan
from edgecap.benchmarks.reference.evaluate import MEASURED
from edgecap.benchmarks.runner import Row
from edgecap.core.figures import save_figure

if TYPE_CHECKING:
    from rich.table import Table

MARKER = "report.json"
COUNTED = "malformed"  # the one metric of eval that is a count, not a share
# The scenes of a bench contain no withheld combinations.
SHOWN = tuple(key for key in MEASURED if key != "withheld")
FIGURES = (
    "size MB",
    "cold start ms",
    "encode_image ms p50 / p90",
    "decode step ms p50 / p90",
    "caption ms p50 / p90",
    "captions/s",
    "peak RSS MiB",
    "× PyTorch, caption",
    "parity, next token %",
    "parity, captions %",
    *(key if key == COUNTED else f"{key} %" for key in SHOWN),
)
OPERATIONS = ("encode_image_ms", "decode_step_ms", "caption_ms")


def to_json(rows: Sequence[Row], plan: BenchPlan, machine: dict[str, Any]) -> dict[str, Any]:
    """Everything measured, unrounded."""
    return {"machine": machine, "plan": asdict(plan), "targets": [asdict(row) for row in rows]}


def cells(row: Row) -> list[str]:
    """The figures of one target, in the order of `FIGURES`; a dash where not measured."""

    def number(value: float | None, digits: int = 1) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    def spread(key: str) -> str:
        times = row.times.get(key)
        return "–" if times is None else f"{times.p50:.2f} / {times.p90:.2f}"

    def percent(share: float | None) -> str:
        return number(None if share is None else 100 * share)

    return [
        number(row.size_mb),
        number(row.cold_start_ms, 0),
        *(spread(key) for key in OPERATIONS),
        number(row.captions_per_s),
        number(row.peak_rss_mb, 0),
        number(row.times_faster.get("caption_ms"), 2),
        percent(row.parity.get("next_token")),
        percent(row.parity.get("captions")),
        *(
            number(row.accuracy.get(key), 0) if key == COUNTED else percent(row.accuracy.get(key))
            for key in SHOWN
        ),
    ]


def to_table(rows: Sequence[Row]) -> Table:
    """For a terminal: targets side by side, one line per figure."""
    from rich.table import Table

    table = Table()
    table.add_column("")
    for row in rows:
        table.add_column(row.name, justify="right", overflow="fold")
    for line in _lines(rows):
        table.add_row(*line)
    return table


def _lines(rows: Sequence[Row]) -> list[list[str]]:
    """The body of a table: a figure's name, then its value for every target."""
    columns = [cells(row) for row in rows]
    return [[name, *(column[i] for column in columns)] for i, name in enumerate(FIGURES)]


def notes(rows: Sequence[Row]) -> list[str]:
    """Caveats of the figures of these rows, a sentence or two each."""
    return [
        f"{row.name} was evaluated by {row.about['backend']}: its accuracy is valid, but its speed "
        "is not a device's. A Neural Engine may round differently within an operation."
        for row in rows
        if not row.timed
    ]


def to_csv(rows: Sequence[Row]) -> str:
    """One line per target, unrounded numbers, empty where not measured."""
    flat = [_flat(row) for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in flat for key in row)))
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def to_markdown(rows: Sequence[Row], plan: BenchPlan, machine: dict[str, Any]) -> str:
    """A table, then the machine and the method."""
    lines = [
        _markdown_row(["", *(row.name for row in rows)]),
        _markdown_row(["---", *["---:"] * len(rows)]),
        *map(_markdown_row, _lines(rows)),
        "",
        f"{machine['cpu']}, {plan.threads} thread(s), {machine['system']}, {machine['date']}; "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + ".",
        f"{plan.rounds} interleaved rounds after one warm-up; a process per target; medians over "
        f"all rounds. Accuracy on {plan.scenes} evaluation scenes in "
        f"{', '.join(plan.languages)}. Load average at the start: {machine['load']}.",
    ]
    lines += notes(rows)
    failed = [f"- {row.name} failed: {row.error}" for row in rows if row.error]
    return "\n".join(lines + ([""] + failed if failed else [])) + "\n"


def write_files(
    directory: Path, rows: Sequence[Row], plan: BenchPlan, machine: dict[str, Any]
) -> None:
    """Write report.md, report.json, report.csv and latency.png into an empty directory.

    The plot needs matplotlib and is left out without it.
    """
    text = "# edgecap bench\n\n" + to_markdown(rows, plan, machine)
    if _draw(directory / "latency.png", rows):
        text += "\n![Latency per target](latency.png)\n"
    (directory / "report.md").write_text(text, encoding="utf-8")
    (directory / "report.csv").write_text(to_csv(rows), encoding="utf-8")
    everything = json.dumps(to_json(rows, plan, machine), indent=2, ensure_ascii=False)
    (directory / MARKER).write_text(everything + "\n", encoding="utf-8")


def _markdown_row(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"


def _flat(row: Row) -> dict[str, Any]:
    return {
        "target": row.name,
        "size_mb": row.size_mb,
        "cold_start_ms": row.cold_start_ms,
        **{
            f"{key}_{part}": getattr(times, part)
            for key, times in row.times.items()
            for part in ("p50", "p90")
        },
        "captions_per_s": row.captions_per_s,
        "peak_rss_mb": row.peak_rss_mb,
        **{f"times_faster_{key}": value for key, value in row.times_faster.items()},
        **{f"parity_{key}": value for key, value in row.parity.items()},
        **{k: v for k, v in row.accuracy.items() if isinstance(v, int | float)},
        "error": row.error,
    }


def _draw(path: Path, rows: Sequence[Row]) -> bool:
    """Bars of p50 with whiskers up to p90, one panel per operation; whether it was drawn."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    measured = [row for row in rows if row.times]
    if not measured:
        return False
    figure = Figure(figsize=(11, 1.6 + 0.45 * len(measured)), layout="constrained")
    panels = figure.subplots(1, len(OPERATIONS), sharey=True)
    names = [row.name for row in measured]
    colors = ["#9a9a9a" if row.reference else "#2a6fdb" for row in measured]
    for panel, key in zip(panels, OPERATIONS, strict=True):
        # transformers has no separate decode step to time: no bar
        times = [row.times.get(key) for row in measured]
        p50 = [0.0 if each is None else each.p50 for each in times]
        above = [0.0 if each is None else max(each.p90 - each.p50, 0.0) for each in times]
        panel.barh(names, p50, xerr=[[0.0] * len(p50), above], color=colors, ecolor="#333333")
        panel.set_title(key.removesuffix("_ms").replace("_", " "))
        panel.set_xlabel("ms, p50 with p90")
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[0].invert_yaxis()
    save_figure(figure, path)
    return True
