"""Reports of a bench: JSON, CSV, Markdown, and a directory with all of them and a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.benchmarks.noise import Noise
from edgecap.benchmarks.protocol import TIMED, BenchPlan
from edgecap.benchmarks.reference.evaluate import MEASURED
from edgecap.benchmarks.runner import Measured, Row, Spread
from edgecap.benchmarks.statistics import Interval, Verdict

if TYPE_CHECKING:
    from edgecap.benchmarks.baseline import Change

SCHEMA = 2  # of the JSON; docs/benchmarks.md describes it
MARKER = "report.json"
COUNTED = "malformed"  # the one metric of eval that is a count, not a share
# The scenes of a bench contain no withheld combinations.
SHOWN = tuple(key for key in MEASURED if key != "withheld")
_TITLES = {
    "encode_image_ms": "encode image ms",
    "decode_step_ms": "decode step ms",
    "first_token_ms": "first token ms",
    "token_ms": "further token ms",
    "caption_ms": "caption ms",
    "caption_after_pause_ms": "caption after a pause ms",
}
FIGURES = (
    "size MB",
    "cold start ms",
    *(f"{_TITLES[key]} p50 / p90 / p99" for key in TIMED),
    "caption, ms of CPU time",
    "tokens/s",
    "captions/s, 8 in a call",
    "peak RSS MiB",
    "steady RSS MiB",
    "energy J/caption",
    "× first, encode image",
    "× first, caption",
    "same captions as first %",
    "parity, next token %",
    "parity, captions %",
    *(key if key == COUNTED else f"{key} %" for key in SHOWN),
)


@dataclass(frozen=True)
class Report:
    """Everything in a report.

    Attributes:
        machine: what `machine()` returns; of the remote machine where there is one.
        left_out: targets that were requested and could not be run, with the reason.
        limits: what the machine can do at best, from `limits.measure`; None: not measured.
        profiles: times per operation, from `profile.profile`, by target.
        changes: against the baseline, where there is one.
    """

    measured: Measured
    plan: BenchPlan
    machine: dict[str, Any]
    left_out: dict[str, str]
    limits: dict[str, Any] | None = None
    profiles: dict[str, list[dict[str, Any]]] | None = None
    changes: Sequence[Change] = ()

    @property
    def rows(self) -> list[Row]:
        return self.measured.rows


def to_json(report: Report) -> dict[str, Any]:
    """Everything measured, unrounded."""
    noise = report.measured.noise
    return {
        "schema": SCHEMA,
        "machine": report.machine,
        "plan": asdict(report.plan) | {"clock": report.plan.clock},
        "noise": None if noise is None else asdict(noise) | {"quiet": noise.quiet},
        "targets": [asdict(row) for row in report.rows],
        "left_out": report.left_out,
        "limits": report.limits,
        "profiles": report.profiles,
    }


def from_json(values: Mapping[str, Any]) -> Report:
    """The report from the values of `to_json`."""
    plan = {key: value for key, value in values["plan"].items() if key != "clock"}
    noise = values["noise"] and Noise(values["noise"]["cpu_share"], values["noise"]["spread"])
    rows = []
    for target in values["targets"]:
        intervals = {key: Interval(**one) for key, one in target["times_faster"].items()}
        row = Row(**(target | {"times_faster": intervals}))
        row.times = {key: Spread(**one) for key, one in target["times"].items()}
        row.batches = {int(size): value for size, value in target["batches"].items()}
        rows.append(row)
    measured = Measured(rows, noise)
    rest = (values["machine"], values["left_out"], values["limits"], values["profiles"])
    return Report(measured, BenchPlan(**plan), *rest)


def cells(row: Row) -> list[str]:
    """The figures of one target, in the order of `FIGURES`; a dash where not measured."""

    def spread(key: str) -> str:
        times = row.times.get(key)
        if times is None:
            return "–"
        return " / ".join(_short(value) for value in (times.p50, times.p90, times.p99))

    return [
        number(row.size_mb),
        number(row.cold_start_ms, 0),
        *(spread(key) for key in TIMED),
        number(row.cpu_ms("caption_ms")),
        number(row.tokens_per_s, 0),
        number(row.captions_per_s),
        number(row.peak_rss_mb, 0),
        number(row.steady_rss_mb, 0),
        number(row.energy_j, 2),
        ratio(row.times_faster.get("encode_image_ms")),
        ratio(row.times_faster.get("caption_ms")),
        percent(row.same_captions),
        percent(row.parity.get("next_token")),
        percent(row.parity.get("captions")),
        *(
            number(row.accuracy.get(key), 0) if key == COUNTED else percent(row.accuracy.get(key))
            for key in SHOWN
        ),
    ]


def number(value: float | None, digits: int = 1) -> str:
    """A figure; a dash where not measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in percent; a dash where not measured."""
    return number(None if share is None else 100 * share)


def _short(value: float) -> str:
    """Three digits: 0.91, 12.3, 263."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.3g}"


def ratio(interval: Interval | None) -> str:
    """How many times faster, with its interval; "undecided" where that includes 1."""
    if interval is None:
        return "–"
    if interval.low == interval.high == 1:
        return "1"
    shown = f"{interval.value:.2f} ({interval.low:.2f}–{interval.high:.2f})"
    return shown + (" undecided" if interval.against(1) is Verdict.UNDECIDED else "")


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """The body of a table: a figure's name, then its value for every target.

    A figure that no target has is left out.
    """
    columns = [cells(row) for row in rows]
    body = [[name, *(column[i] for column in columns)] for i, name in enumerate(FIGURES)]
    return [line for line in body if any(cell != "–" for cell in line[1:])]


def notes(report: Report) -> list[str]:
    """Caveats of the figures, a sentence or two each."""
    noise = report.measured.noise
    found = [] if noise is None else [noise.sentence()]
    found += [
        f"{row.name} was evaluated by {row.about['backend']}: its accuracy is valid, but its speed "
        "is not a device's. A Neural Engine may round differently within an operation."
        for row in report.rows
        if not row.timed
    ]
    found += [f"{row.name} failed: {row.error}" for row in report.rows if row.error and row.peer]
    return found + [f"{name} was left out: {why}" for name, why in report.left_out.items()]


def to_csv(rows: Sequence[Row]) -> str:
    """One line per target, unrounded numbers, empty where not measured."""
    flat = [_flat(row) for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in flat for key in row)))
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def to_markdown(report: Report) -> str:
    """A table, then the machine and the method."""
    rows = report.rows
    text = [
        _markdown_row(["", *(row.name for row in rows)]),
        _markdown_row(["---", *["---:"] * len(rows)]),
        *map(_markdown_row, lines(rows)),
        "",
        *method(report),
        *notes(report),
    ]
    failed = [f"- {row.name} failed: {row.error}" for row in rows if row.error and not row.peer]
    return "\n".join(text + ([""] + failed if failed else [])) + "\n"


def method(report: Report) -> list[str]:
    """The machine and how it was measured, a line each."""
    machine, plan = report.machine, report.plan
    rounds = max((len(row.rounds) for row in report.rows), default=0)
    lines = [
        f"{machine['cpu']}, {plan.threads} thread(s), {machine['system']}, {machine['date']}; "
        + ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        + ".",
        f"{rounds} interleaved rounds after one that warms up; a process per target, pinned to its "
        f"CPUs. Times are wall time. × first: {plan.clock} time against the first target, median "
        f"of the rounds and its 95 % interval. Load average at the start: {machine['load']}.",
    ]
    if plan.scenes:
        lines.append(f"Accuracy on {plan.scenes} evaluation scenes in {', '.join(plan.languages)}.")
    return lines


def write_files(directory: Path, report: Report) -> None:
    """Write report.md, .json, .csv, .html and litertlm_rows.json into an empty directory."""
    from edgecap.benchmarks.manifest_rows import manifest_rows
    from edgecap.benchmarks.page import page

    values = to_json(report)
    text = "# edgecap bench\n\n" + to_markdown(report)
    (directory / "report.md").write_text(text, encoding="utf-8")
    (directory / "report.csv").write_text(to_csv(report.rows), encoding="utf-8")
    (directory / "report.html").write_text(
        page(json.loads(json.dumps(values)), lines(report.rows), method(report)), encoding="utf-8"
    )
    _write_json(directory / "litertlm_rows.json", manifest_rows(report))
    _write_json(directory / MARKER, values)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


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
            for part in ("p50", "p90", "p99")
        },
        "tokens_per_s": row.tokens_per_s,
        "captions_per_s": row.captions_per_s,
        **{f"captions_per_s_{size}": value for size, value in row.batches.items()},
        "peak_rss_mb": row.peak_rss_mb,
        "steady_rss_mb": row.steady_rss_mb,
        "energy_j": row.energy_j,
        **{
            f"times_faster_{key}{suffix}": getattr(interval, part)
            for key, interval in row.times_faster.items()
            for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high"))
        },
        "same_captions": row.same_captions,
        **{f"parity_{key}": value for key, value in row.parity.items()},
        **{k: v for k, v in row.accuracy.items() if isinstance(v, int | float)},
        "error": row.error,
    }
