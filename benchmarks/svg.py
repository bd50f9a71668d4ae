"""Small plots as SVG text that follows the page's colours; no script, nothing loaded.

All plots are `WIDTH` units wide, so that text keeps its size on a narrow screen. Classes `ours`,
`peer` and `first` choose the colour of a target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360
LEFT, RIGHT, TOP, BOTTOM = 34, 14, 10, 34
ROW = 34
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Series:
    """The values of one target."""

    name: str
    kind: str  # ours, peer or first
    points: Sequence[tuple[float, float]] = ()


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Values low … high to units start … end."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """The same on a logarithmic axis; low > 0."""
    straight = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: straight(math.log10(max(value, low)))


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values from low to high."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9) / most))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= most)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten, and 2 and 5 times them where there are few, between low and high."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(found) >= 3:
            break
    return found


def number(value: float) -> str:
    """A tick's label."""
    if value >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def text(x: float, y: float, label: str, anchor: str = "start", kind: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{kind}">{escape(label)}</text>'


def line(x0: float, y0: float, x1: float, y1: float, kind: str) -> str:
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" class="{kind}"/>'


def dot(x: float, y: float, r: float, kind: str, title: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" class="{kind}">'
        f"<title>{escape(title)}</title></circle>"
    )


def drawing(height: float, title: str, parts: Iterable[str]) -> str:
    """The whole picture; `title` is read by screen readers."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )


def rows(
    title: str,
    series: Sequence[tuple[Series, Sequence[float], tuple[float, float, float] | None]],
    unit: str,
    *,
    log: bool = False,
    mark: float | None = None,
) -> str:
    """A row for each target: its samples as dots, or a value with an interval.

    Args:
        title: what is shown.
        series: target, samples, and (value, low, high) or None.
        unit: of the axis.
        log: a logarithmic axis.
        mark: a value that gets a line of its own.
    """
    values = [v for _, samples, _ in series for v in samples]
    values += [v for _, _, interval in series for v in interval or () if math.isfinite(v)]
    values += [] if mark is None else [mark]
    low, high = (min(values) * 0.93, max(values) * 1.07) if log else (0.0, max(values) * 1.03)
    scale = (logarithmic if log else linear)(low, high, 8, WIDTH - RIGHT)
    bottom = TOP + ROW * len(series)
    parts = []
    for tick in decades(low, high) if log else ticks(low, high):
        parts += [
            line(scale(tick), TOP, scale(tick), bottom, "grid"),
            text(scale(tick), bottom + 13, number(tick), "middle", "tick"),
        ]
    if mark is not None:
        parts.append(line(scale(mark), TOP, scale(mark), bottom, "mark"))
    for i, (one, samples, interval) in enumerate(series):
        y = TOP + ROW * i + 24
        label = f"{number(interval[0])}" if interval else ""
        parts.append(text(8, y - 11, one.name, kind="name"))
        parts.append(text(WIDTH - RIGHT, y - 11, label, "end", "value"))
        parts += [dot(scale(v), y, 2.4, f"sample {one.kind}", f"{v:.3g} {unit}") for v in samples]
        if interval is None:
            continue
        value, least, most = interval
        if math.isfinite(most) and least > 0:
            parts.append(line(scale(least), y, scale(most), y, f"range {one.kind}"))
        parts.append(line(scale(value), y - 6, scale(value), y + 6, f"median {one.kind}"))
    parts.append(text(WIDTH - RIGHT, bottom + 27, unit, "end", "tick"))
    return drawing(bottom + BOTTOM, title, parts)


def scatter(
    title: str,
    points: Sequence[tuple[Series, float, float, float]],
    units: tuple[str, str],
) -> str:
    """(target, x, y, size): the area of a dot is the size; x on a logarithmic axis."""
    height = 250
    xs, ys = [x for _, x, _, _ in points], [y for _, _, y, _ in points]
    low, high = min(xs) / 1.4, max(xs) * 1.4
    # At least ten points high, so that a tenth of a percent does not look like a difference.
    middle, half = (min(ys) + max(ys)) / 2, max(0.7 * (max(ys) - min(ys)), 5.0)
    bottom_value, top_value = max(0.0, middle - half), middle + half
    x = logarithmic(low, high, LEFT, WIDTH - RIGHT)
    y = linear(bottom_value, top_value, height - BOTTOM, TOP + 18)
    parts = []
    for tick in decades(low, high):
        parts += [
            line(x(tick), TOP, x(tick), height - BOTTOM, "grid"),
            text(x(tick), height - BOTTOM + 13, number(tick), "middle", "tick"),
        ]
    for tick in ticks(bottom_value, min(top_value, 100.0), 4):
        parts += [
            line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"),
            text(LEFT - 4, y(tick) + 3, number(tick), "end", "tick"),
        ]
    most = max(size for _, _, _, size in points) or 1.0
    labels = _apart([y(value) for _, _, value, _ in points], 12)
    names = []  # over all dots
    for (one, across, up, size), label in zip(points, labels, strict=True):
        r = 4 + 9 * math.sqrt(size / most)
        title = f"{one.name}: {across:.3g} {units[0]}, {up:.1f} {units[1]}, {size:.1f} MB"
        parts.append(dot(x(across), y(up), r, f"bubble {one.kind}", title))
        right = x(across) < WIDTH * 0.55
        shift = r + 3 if right else -r - 3
        names.append(
            text(x(across) + shift, label + 3, one.name, "start" if right else "end", "name")
        )
    parts += names
    parts += [
        text(WIDTH - RIGHT, height - 6, units[0], "end", "tick"),
        text(2, TOP, units[1], kind="tick"),
    ]
    return drawing(height, title, parts)


def curves(
    title: str,
    series: Sequence[Series],
    units: tuple[str, str],
    *,
    log_y: bool = False,
    roof: Sequence[tuple[float, float]] = (),
) -> str:
    """Lines over a logarithmic x axis, named at their ends; `roof` is drawn behind them."""
    height = 250
    every = [point for one in series for point in one.points] + list(roof)
    low, high = min(x for x, _ in every), max(x for x, _ in every)
    most = max(y for _, y in every) * 1.1
    least = min(y for _, y in every) / 1.5 if log_y else 0.0
    x = logarithmic(low, max(high, low * 1.01), LEFT, WIDTH - 16)
    y = (logarithmic if log_y else linear)(least, most, height - BOTTOM, TOP + 8)
    across = sorted({a for one in series for a, _ in one.points})
    parts = []
    for tick in decades(low, high) if roof else across:
        parts += [
            line(x(tick), TOP, x(tick), height - BOTTOM, "grid"),
            text(x(tick), height - BOTTOM + 13, number(tick), "middle", "tick"),
        ]
    for tick in decades(least, most) if log_y else ticks(least, most, 4):
        parts += [
            line(LEFT, y(tick), WIDTH - 16, y(tick), "grid"),
            text(LEFT - 4, y(tick) + 3, number(tick), "end", "tick"),
        ]
    if roof:
        parts.append(_polyline([(x(a), y(b)) for a, b in roof], "roof"))
    ends = _apart([y(one.points[-1][1]) for one in series], 12)
    for i, (one, end) in enumerate(zip(series, ends, strict=True)):
        places = [(x(a), y(b)) for a, b in one.points]
        if len(places) > 1:
            parts.append(_polyline(places, f"curve {one.kind} dash{i % 3}"))
        for (a, b), (px, py) in zip(one.points, places, strict=True):
            label = f"{one.name}: {a:.3g} {units[0]}, {b:.3g} {units[1]}"
            parts.append(dot(px, py, 3.5, f"bubble {one.kind}", label))
        last = places[-1][0]
        near_end = last > WIDTH * 0.5
        parts.append(
            text(last + (-6 if near_end else 6), end - 7, one.name,
                 "end" if near_end else "start", "name")
        )  # fmt: skip
    parts += [
        text(WIDTH - 16, height - 6, units[0], "end", "tick"),
        text(2, TOP, units[1], kind="tick"),
    ]
    return drawing(height, title, parts)


def _polyline(places: Sequence[tuple[float, float]], kind: str) -> str:
    joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    return f'<polyline points="{joined}" class="{kind}"/>'


def _apart(places: Sequence[float], distance: float) -> list[float]:
    """The places moved up or down until no two are closer than the distance."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, after in zip(order, order[1:], strict=False):
        moved[after] = max(moved[after], moved[before] + distance)
    overshoot = (max(moved) - max(places)) / 2 if places else 0.0
    return [place - overshoot for place in moved]
