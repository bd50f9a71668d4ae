"""Plots of a run's log and of a fine-tuning report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.core.figures import save_figure
from edgecap.core.lazy import require
from edgecap.reference.train.log import read_log

if TYPE_CHECKING:
    from edgecap.reference.train.finetune_job import FinetuneReport


def plot_log(log: Path, out: Path) -> bool:
    """Losses and speed against the step, one panel each; False where the log has no row yet."""
    require("matplotlib", "train")
    from matplotlib.figure import Figure

    rows = read_log(log)
    if not rows:
        return False
    steps = [row["step"] for row in rows]
    panels = [key for key in rows[0] if key.endswith(("_loss", "images_per_s"))]
    figure = Figure(figsize=(9, 3 * -(-len(panels) // 2)), layout="constrained")
    for place, key in enumerate(panels, start=1):
        axes = figure.add_subplot(-(-len(panels) // 2), 2, place)
        axes.plot(steps, [row[key] for row in rows], linewidth=1)
        axes.set_title(key.replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if key == panels[0]:
            axes.set_yscale("log")
        for before, after in zip(rows, rows[1:], strict=False):
            if before["window"] != after["window"]:
                axes.axvline(after["step"], color="grey", linestyle=":", linewidth=1)
    save_figure(figure, out)
    return True


def plot_finetuning(report: FinetuneReport, out: Path) -> None:
    """Losses of fine-tuning, and exact captions per known language before and after."""
    require("matplotlib", "train")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    losses, bars = figure.subplots(1, 2)
    names = {"new_caption": f"new captions ({report.lang})", "old_caption": "rehearsed captions"}
    for key, label in names.items():
        points = [(row["step"], row[key]) for row in report.log if key in row]
        if points:
            losses.plot(*zip(*points, strict=True), label=label, linewidth=1)
    losses.set_xlabel("step")
    losses.set_title("nats per token")
    losses.grid(alpha=0.3)
    if report.log:
        losses.legend(frameon=False)
    kept = report.forgetting
    rows = kept.to_json()["languages"] if kept else {}
    if report.exact:
        before, after = report.exact
        rows[report.lang] = {"before": before, "after": after}
    for shift, when in ((-0.2, "before"), (0.2, "after")):
        heights = [100 * row[when] for row in rows.values()]
        bars.bar([i + shift for i in range(len(rows))], heights, 0.4, label=when)
    bars.set_xticks(range(len(rows)), list(rows))
    bars.set_ylim(0, 118)  # with room for the legend
    bars.set_yticks(range(0, 101, 20))
    bars.set_title("exact captions of test scenes, %")
    if rows:
        bars.legend(frameon=False, ncols=2, loc="upper right")
    save_figure(figure, out)
