"""A run's log as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from edgecap.core.lazy import require


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of log.jsonl; a last line cut by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def plot_log(log: Path, out: Path) -> None:
    """Losses and speed against the step, one panel each."""
    require("matplotlib", "train")
    from matplotlib.figure import Figure

    rows = read_log(log)
    if not rows:
        return
    steps = [row["step"] for row in rows]
    panels = [key for key in rows[0] if key.endswith(("_loss", "images_per_s"))]  # four
    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, key in zip(figure.subplots(2, 2).flat, panels, strict=True):
        axes.plot(steps, [row[key] for row in rows], linewidth=1)
        axes.set_title(key.replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if key == panels[0]:
            axes.set_yscale("log")
        for before, after in zip(rows, rows[1:], strict=False):
            if before["window"] != after["window"]:
                axes.axvline(after["step"], color="grey", linestyle=":", linewidth=1)
    figure.savefig(out, dpi=110)
