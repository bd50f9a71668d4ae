"""A report as one HTML page without scripts: plots, the table, and how it was measured.

python -m edgecap.benchmarks.page report.json > report.html
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

from edgecap.benchmarks import svg
from edgecap.benchmarks.svg import Series
from edgecap.core.errors import EdgecapError

Target = Mapping[str, Any]
# The accuracy of the plot: the first of these that targets have.
ACCURACY = (
    ("exact", "exact scene %"),
    ("grounding_50", "grounding@0.5 %"),
)
DISTRIBUTIONS = (
    ("caption_ms", "Whole caption", "One image to its caption. Captions differ in length."),
    ("encode_image_ms", "Image encoder", "The same work for every image."),
    ("token_ms", "Each further token", "What a caption takes per token after the first."),
)
MOST_OPERATIONS = 12
MOST_CURVES = 8


def page(report: Mapping[str, Any], table: Sequence[Sequence[str]], method: Sequence[str]) -> str:
    """The page of a report.

    Args:
        report: the report as JSON, `report.to_json`.
        table: lines of figures, `report.lines`.
        method: machine and method, `report.method`.
    """
    short = _short_names([target["name"] for target in report["targets"]])
    targets = [t | {"short": short[t["name"]]} for t in report["targets"] if not t["error"]]
    css = (resources.files("edgecap.benchmarks") / "page.css").read_text(encoding="utf-8")
    cards = "".join(
        f'<section class="card"><h3>{escape(title)}</h3><p>{escape(about)}</p>{plot}</section>'
        for title, about, plot in _plots(report, targets)
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>edgecap bench, {escape(str(report["machine"]["date"]))}</title>
<style>{css}</style></head><body>
<h1>edgecap bench</h1>
<p class="soft">{escape(method[0])}</p>
{_noise(report["noise"])}
{_key(targets)}
<div class="cards">{cards}</div>
<h2>All figures</h2>
{_table(["", *(t["name"] for t in report["targets"])], table)}
{_failures(report)}
{_limits(report.get("limits"), targets, report["plan"]["clock"])}
{_profiles(report.get("profiles") or {})}
<footer class="soft">{"".join(f"<p>{escape(line)}</p>" for line in method[1:])}
<p>The words of this page are defined in docs/benchmarks.md of edgecap.</p></footer>
</body></html>
"""


def _plots(report: Mapping[str, Any], targets: Sequence[Target]) -> Iterator[tuple[str, str, str]]:
    """(title, sentence, drawing) of every plot that has something to show."""
    timed = [target for target in targets if target["times"]]
    clock = report["plan"]["clock"]
    first = timed[0]["name"] if timed else ""
    ratios = [
        (_series(t), (), (r["value"], r["low"], r["high"]))
        for t in timed[1:]
        if (r := t["times_faster"].get("caption_ms"))
    ]
    if ratios:
        title = f"Times faster than {first}"
        about = "Whole caption; bars are 95 % intervals. One that holds 1 is undecided."
        yield title, about, svg.rows(title, ratios, "times", log=True, mark=1.0)
    yield from _accuracy(timed, clock)
    for key, title, about in DISTRIBUTIONS:
        rows = [
            (_series(t), _times(t, key, clock), (_median(t, key, clock),) * 3)
            for t in timed
            if key in t["times"]
        ]
        if rows:
            yield (
                f"{title}, ms of {'CPU' if clock == 'cpu' else 'wall'} time",
                f"{about} A dot is a run, the bar their median.",
                svg.rows(title, rows, "ms"),
            )
    crowded = len(timed) > MOST_CURVES  # whose names would lie on each other
    curves = [
        Series(t["short"], _kind(t), sorted((int(n), v) for n, v in t["batches"].items()))
        for t in timed
        if len(t["batches"]) > 1 and not (crowded and _kind(t) == "peer")
    ]
    if curves:
        title = "Captions per second"
        about = "By images in one call." + (" Others are in the table." if crowded else "")
        yield title, about, svg.curves(title, curves, ("images in a call", "captions/s"))
    if report.get("limits"):
        yield from _roofline(report["limits"], timed, clock)


def _accuracy(timed: Sequence[Target], clock: str) -> Iterator[tuple[str, str, str]]:
    for key, name in ACCURACY:
        points = [
            (
                _series(t),
                median(_times(t, "caption_ms", clock)),
                100 * t["accuracy"][key],
                t["size_mb"],
            )
            for t in timed
            if key in t["accuracy"] and t["size_mb"]
        ]
        if points:
            about = "Left and up is better. The area of a dot is the size of what an app ships."
            plot = svg.scatter("Accuracy and latency", points, ("ms a caption", name))
            yield "Accuracy, latency and size", about, plot
            return


def _roofline(
    limits: Mapping[str, Any], timed: Sequence[Target], clock: str
) -> Iterator[tuple[str, str, str]]:
    """Operations/s reached over operations per byte, under what the machine can do."""
    peak, bandwidth = limits["int8_gops"], limits["bandwidth_gbs"]
    points = []
    for target in timed:
        for part in limits["bundles"].get(target["name"], {}).values():
            measured = _median(target, part["figure"], clock)
            if measured and part["macs"] and part["bytes"]:
                gops = 2 * part["macs"] / measured / 1e6
                at = [(2 * part["macs"] / part["bytes"], gops)]
                points.append(Series(f"{part['name']}, {target['short']}", _kind(target), at))
    if not points:
        return
    intensities = [one.points[0][0] for one in points]
    low, high = min(intensities) / 3, max(max(intensities), peak / bandwidth) * 3
    ridge = peak / bandwidth
    roof = [(low, low * bandwidth), (ridge, peak), (high, peak)]
    title = "Distance from the limit"
    about = (
        f"The dashed line is what this machine can do in int8: {peak:.0f} G operations/s and "
        f"{bandwidth:.1f} GB/s, both measured; float32 products reach {limits['fp32_gops']:.0f}."
    )
    units = ("operations per byte", "G operations/s")
    yield title, about, svg.curves(title, points, units, log_y=True, roof=roof)


def _limits(limits: Mapping[str, Any] | None, targets: Sequence[Target], clock: str) -> str:
    if not limits:
        return ""
    by_name = {target["name"]: target for target in targets}
    body = []
    for name, parts in limits["bundles"].items():
        for part in parts.values():
            measured = _median(by_name[name], part["figure"], clock) if name in by_name else None
            ratio = "–" if not measured else f"{measured / part['floor_ms']:.1f}"
            shown = "–" if not measured else f"{measured:.2f}"
            body.append(
                [f"{name}, {part['name']}", f"{part['macs'] / 1e6:.1f}",
                 f"{part['bytes'] / 1e6:.2f}", f"{part['floor_ms']:.3f}", shown, ratio]
            )  # fmt: skip
    head = [
        "",
        "M multiply-adds",
        "MB read",
        "floor ms",
        f"measured ms, {clock} time",
        "measured / floor",
    ]
    text = (
        f"The floor is the longer of two times: multiply-adds at the {limits['precision_note']}, "
        "and bytes at the bandwidth of a working set of that size."
    )
    return f"<h2>Distance from the limit</h2><p>{escape(text)}</p>{_table(head, body)}"


def _profiles(profiles: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    parts = []
    for name, rows in profiles.items():
        body = [
            [f"{r['function']}: {r['operation']}", str(r["calls"]), f"{r['ms']:.3f}",
             f"{100 * r['share']:.1f}"]
            for r in rows[:MOST_OPERATIONS]
        ]  # fmt: skip
        head = ["operation", "calls", "ms a run", "% of function"]
        parts.append(f"<h2>Time per operation, {escape(name)}</h2>{_table(head, body)}")
    return "".join(parts)


def _noise(noise: Mapping[str, Any] | None) -> str:
    if noise is None:
        return ""
    from edgecap.benchmarks.noise import Noise

    sentence = Noise(noise["cpu_share"], noise["spread"]).sentence()
    return f'<p class="note {"quiet" if noise["quiet"] else ""}">{escape(sentence)}</p>'


def _key(targets: Sequence[Target]) -> str:
    names = {"first": "PyTorch", "ours": "edgecap's Python runtime", "peer": "other runtimes"}
    kinds = dict.fromkeys(_kind(target) for target in targets)
    shown = "".join(f'<span><b class="{k}">●</b> {names[k]}</span>' for k in kinds)
    return f'<p class="key soft">{shown}</p>'


def _failures(report: Mapping[str, Any]) -> str:
    notes = [f"{t['name']} failed: {t['error']}" for t in report["targets"] if t["error"]]
    notes += [f"{name} was left out: {why}" for name, why in report["left_out"].items()]
    notes += [
        f"{t['name']} was evaluated, not run on its engine: its accuracy is valid, its speed is "
        "not a device's."
        for t in report["targets"]
        if not t["timed"] and not t["error"]
    ]
    return "".join(f'<p class="soft">{escape(line)}</p>' for line in notes)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    return f'<div class="wide"><table><tr>{heads}</tr>{lines}</table></div>'


def _kind(target: Target) -> str:
    return "first" if target["reference"] else "peer" if target["peer"] else "ours"


def _series(target: Target) -> Series:
    return Series(target["short"], _kind(target))


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Names without the words that all bundles begin with."""
    bundles = [name for name in names if not name.startswith("PyTorch")]
    common = os.path.commonprefix(bundles) if len(bundles) > 1 else ""
    cut = common.rfind("-") + 1
    return {name: name[cut:] if name in bundles else name.split()[0] for name in names}


def _times(target: Target, key: str, clock: str) -> list[float]:
    """Times of all runs, ms, without the slowest in fifty: they would squeeze all others."""
    times = sorted(ms for one in target["rounds"] if key in one for ms in one[key][clock])
    return times[: math.ceil(0.98 * len(times))]


def _median(target: Target, key: str, clock: str) -> float:
    """Of all runs, ms; 0 where there is none."""
    times = [ms for one in target["rounds"] if key in one for ms in one[key][clock]]
    return median(times) if times else 0.0


def main() -> int:
    """The page of a report's JSON on standard output."""
    from edgecap.benchmarks import baseline
    from edgecap.benchmarks.report import from_json, lines, method

    parser = argparse.ArgumentParser(prog="python -m edgecap.benchmarks.page")
    parser.add_argument("report", type=Path, help="report.json of edgecap bench")
    try:
        values = baseline.read(parser.parse_args().report)
    except EdgecapError as error:
        print(f"edgecap: {error}", file=sys.stderr)
        return error.exit_code
    report = from_json(values)
    print(page(values, lines(report.rows), method(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
