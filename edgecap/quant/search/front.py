"""What a search found, as an image: accuracy against size and against latency.

Bit operations stand in for latency where it was not measured.
"""

from __future__ import annotations

from pathlib import Path

from edgecap.core.figures import save_figure
from edgecap.core.lazy import require
from edgecap.quant.search.search import SearchResult

_CHOSEN, _JUDGED, _BUDGET = "#D55E00", "#0072B2", "#6a6a6a"


def draw_front(found: SearchResult, out: Path) -> None:
    """Drop against bytes and latency with 95 % intervals, and divergence of the ladder.

    Raises MissingPackageError without matplotlib.
    """
    require("matplotlib", "export")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 4.2), layout="constrained")
    by_size, by_work, ladder = figure.subplots(1, 3)
    drops = [point.drop.points for point in found.points]
    reach = [
        [point.drop.points - point.drop.low for point in found.points],
        [point.drop.high - point.drop.points for point in found.points],
    ]
    work = [p.candidate.bit_operations / 1e9 for p in found.points]
    front = [(work[found.points.index(p)], p.drop.points) for p in found.front]
    for axes, values, label in (
        (by_size, [p.candidate.size / 1e6 for p in found.points], "MB of parameters"),
        (by_work, work, "10⁹ bit operations an image"),
    ):
        axes.errorbar(
            values, drops, [[max(e, 0) for e in side] for side in reach], fmt="o", color=_JUDGED,
            capsize=3, label="evaluated plan, 95 %",
        )  # fmt: skip
        chosen = found.points.index(found.chosen)
        axes.plot(values[chosen], drops[chosen], "o", color=_CHOSEN, ms=10, label="chosen")
        axes.axhline(found.max_drop, color=_BUDGET, ls="--", lw=1, label="budget")
        axes.axhline(0, color=_BUDGET, lw=0.5)
        axes.set_xlabel(label)
        axes.set_ylabel(f"{found.measure} lost, points")
    by_work.plot(
        *zip(*front, strict=True),
        "o",
        mfc="none",
        mec=_JUDGED,
        ms=13,
        label="front by bit operations",
    )
    by_size.set_title(f"{found.chosen.name}", fontsize=10)
    by_work.legend(fontsize=8)
    ladder.plot(
        [candidate.bit_operations / 1e9 for candidate in found.candidates],
        [max(candidate.predicted, 1e-9) for candidate in found.candidates],
        color=_BUDGET,
        lw=1,
        label="ladder, sum of single layers",
    )
    ladder.plot(
        [point.candidate.bit_operations / 1e9 for point in found.points],
        [max(point.divergence, 1e-9) for point in found.points],
        "o",
        color=_JUDGED,
        label="measured",
    )
    ladder.set_yscale("log")
    ladder.set_xlabel("10⁹ bit operations an image")
    ladder.set_ylabel("KL from fp32, nats a step")
    ladder.legend(fontsize=8)
    for axes in (by_size, by_work, ladder):
        axes.grid(alpha=0.3)
    save_figure(figure, out)
