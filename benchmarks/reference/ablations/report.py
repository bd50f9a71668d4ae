"""What an ablation leaves: a Markdown table, JSON, and an image."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.benchmarks.reference.ablations.differences import Difference, differences, values
from edgecap.benchmarks.reference.ablations.experiment import Ablation, Row
from edgecap.core.figures import save_figure
from edgecap.core.lazy import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Nats and parameters are as they are; shares are shown in percent.
_PLAIN = ("loss",)


def to_json(ablation: Ablation, facts: Sequence[Row], rows: Sequence[Row]) -> dict[str, Any]:
    """Everything measured, unrounded."""
    return {
        "name": ablation.name,
        "claim": ablation.claim,
        "rule": ablation.rule,
        "facts": list(facts),
        "runs": list(rows),
        "differences": [
            {**asdict(one), "decided": one.decided} for one in differences(ablation, rows)
        ],
    }


def to_markdown(ablation: Ablation, facts: Sequence[Row], rows: Sequence[Row]) -> str:
    """The claim, the rule, and the tables."""
    parts = [f"## {ablation.name}", f"Claim: {ablation.claim}", f"TokenGrammar: {ablation.rule}"]
    if facts:
        parts += [ablation.facts_about, _facts_table(facts)]
    if rows:
        seeds = len({row["seed"] for row in rows})
        spread = ", least … most" if seeds > 1 else ""
        parts += [
            f"{seeds} seed{'s' * (seeds > 1)}, mean{spread}; shares in %, loss in nats a token.",
            _runs_table(ablation, rows),
            "First minus second, paired by seed, with the 95 % interval; bold where it leaves 0 "
            "out.",
            _differences_table(ablation, rows),
        ]
    return "\n\n".join(parts) + "\n"


def _facts_table(facts: Sequence[Row]) -> str:
    keys = [key for key in facts[0] if key != "name"]
    return _table(["", *keys], [[row["name"], *(_fact(row[key]) for key in keys)] for row in facts])


def _fact(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _runs_table(ablation: Ablation, rows: Sequence[Row]) -> str:
    body = []
    for arm in ablation.arms:
        own = [row for row in rows if row["arm"] == arm.name]
        seconds = statistics.fmean(row["train_s"] for row in own)
        body.append(
            [
                arm.name,
                f"{own[0]['parameters'] / 1e6:.2f}",
                f"{own[0]['images']:,}",
                f"{seconds:.0f}",
                *(_cell(key, list(values(rows, arm.name, key).values())) for key in ablation.keys),
            ]
        )
    return _table(["", "M parameters", "images", "s", *ablation.keys], body)


def _cell(key: str, found: Sequence[float]) -> str:
    if not found:
        return "–"
    mean = _number(key, statistics.fmean(found))
    if len(found) == 1:
        return mean
    return f"{mean} ({_number(key, min(found))} … {_number(key, max(found))})"


def _differences_table(ablation: Ablation, rows: Sequence[Row]) -> str:
    found = {(one.of, one.minus, one.key): one for one in differences(ablation, rows)}
    body = [
        [f"{of} − {minus}", *(_change(found.get((of, minus, key))) for key in ablation.keys)]
        for of, minus in ablation.contrasts
    ]
    return _table(["", *ablation.keys], body)


def _change(one: Difference | None) -> str:
    if one is None:
        return "–"
    text = _number(one.key, one.mean, sign=True)
    if one.half is not None:
        text += f" ± {_number(one.key, one.half)}"
    return f"**{text}**" if one.decided else text


def _number(key: str, value: float, sign: bool = False) -> str:
    form = "+" if sign else ""
    return f"{value:{form}.3f}" if key in _PLAIN else f"{100 * value:{form}.1f}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(path: Path, ablation: Ablation, facts: Sequence[Row], rows: Sequence[Row]) -> bool:
    """A panel of bars per drawn column of the facts, one of dots per metric of the runs.

    False where there is nothing to draw, and then no image.
    """
    require("matplotlib", "train")
    from matplotlib.figure import Figure

    columns = [key for key in ablation.drawn if facts]
    keys = [key for key in ablation.keys if rows]
    lines = [line for line in (columns, keys) if line]
    if not lines:
        return False
    tall = [len(line) for line in ([facts] * bool(columns) + [ablation.arms] * bool(keys))]
    height = sum(1.2 + 0.34 * count for count in tall)
    figure = Figure(figsize=(12, height + 0.5), layout="constrained")
    figure.suptitle(ablation.claim, x=0.01, ha="left", fontsize=11)
    parts = figure.subfigures(len(lines), 1, squeeze=False, height_ratios=[2 + n for n in tall])
    for part, line in zip(parts[:, 0], lines, strict=True):
        if line is columns:
            part.suptitle(ablation.facts_about, x=0.01, ha="left", fontsize=9)
        panels = part.subplots(1, len(line), sharey=True, squeeze=False)[0]
        for axes, key in zip(panels, line, strict=True):
            if line is columns:
                _bars(axes, key, facts)
            else:
                _dots(axes, key, ablation, rows)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].invert_yaxis()
    save_figure(figure, path)
    return True


def _bars(axes: Axes, key: str, facts: Sequence[Row]) -> None:
    names = [row["name"] for row in facts]
    bars = axes.barh(names, [row[key] if isinstance(row[key], int | float) else 0 for row in facts])
    axes.bar_label(bars, [_fact(row[key]) for row in facts], padding=3, fontsize=8)
    axes.set_title(key, fontsize=10)
    axes.set_xticks([])
    axes.margins(x=0.25)


def _dots(axes: Axes, key: str, ablation: Ablation, rows: Sequence[Row]) -> None:
    """A dot per run, a thin line through the runs of one seed, a bar at each arm's mean."""
    names = [arm.name for arm in ablation.arms]
    scale = 1 if key in _PLAIN else 100
    found = {name: values(rows, name, key) for name in names}
    for seed in sorted({row["seed"] for row in rows}):
        points = [(scale * found[n][seed], n) for n in names if seed in found[n]]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color="#2a6fdb", alpha=0.5, linewidth=0.6)
    means = [(scale * statistics.fmean(f.values()), n) for n, f in found.items() if f]
    if means:
        axes.plot(*zip(*means, strict=True), "|", color="black", markersize=16)
    axes.set_title(key + (", nats a token" if key in _PLAIN else ", %"), fontsize=10)
    axes.grid(axis="x", alpha=0.3)
