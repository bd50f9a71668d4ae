"""`edgecap bench`: size, speed, memory and accuracy of bundles, beside PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._options import (
    Languages,
    Overwrite,
    count_option,
    output_option,
    threads_option,
)
from edgecap.cli._output import (
    STANDARD_OUTPUT,
    Json,
    check_destinations,
    destination_option,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from edgecap.benchmarks.baseline import Change

RENAMED = {"--weights": "--model"}
DETAILS = """
Every bundle runs in its own process, and its runs are interleaved with those of PyTorch, the
reference. Takes about ten minutes, or one with --quick. Writes report.html, report.md, report.json
and report.csv. The exit code is 1 if a bundle failed or --baseline finds a regression.
"""
MORE = "More to measure"


def run(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BUNDLE...", help="Bundles. Default: those in this directory."),
    ] = None,
    output: Annotated[Path, output_option("Directory of the report.")] = Path("bench-report"),
    overwrite: Overwrite = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure for a minute instead of ten.")
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="SECONDS", help="Measure for this long instead."),
    ] = None,
    n: Annotated[
        int | None,
        count_option("Number of scenes for accuracy, 0 to 128; 0 leaves accuracy out.", 0, 128),
    ] = None,
    lang: Languages = "en",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="PyTorch reference: the shipped model S, a .safetensors file of its kind, or the "
            "checkpoint directory that a bundle was exported from. Default: the weights of the "
            "first bundle, if it is one of S.",
        ),
    ] = None,
    threads: Annotated[int, threads_option("CPU threads of each engine.")] = 1,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="JSON of an earlier run to compare with."),
    ] = None,
    max_regression: Annotated[
        str,
        typer.Option(
            "--max-regression",
            metavar="SHARE",
            help="How much worse than --baseline is allowed: 5% or 0.05.",
        ),
    ] = "5%",
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="python|c",
            help="Runtime to measure: python, or the C core as well.",
            rich_help_panel=MORE,
        ),
    ] = "python",
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            help="Measure other engines and runtimes as well (make peers installs them).",
            rich_help_panel=MORE,
        ),
    ] = False,
    remote: Annotated[
        str | None,
        typer.Option(
            "--remote",
            metavar="USER@HOST",
            help="Run the bundles on another machine, over ssh.",
            rich_help_panel=MORE,
        ),
    ] = None,
    remote_python: Annotated[
        str,
        typer.Option(
            "--remote-python",
            metavar="PATH",
            help="Python of that machine, with numpy, Pillow and the engine.",
            rich_help_panel=MORE,
        ),
    ] = "python3",
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Add the time per operation.", rich_help_panel=MORE),
    ] = False,
    limits: Annotated[
        bool,
        typer.Option(
            "--limits", help="Compare with the peak speed of this machine.", rich_help_panel=MORE
        ),
    ] = False,
    json_: Json = None,
    csv: Annotated[
        str | None,
        destination_option("--csv", "Write CSV to a file, or to standard output (-)."),
    ] = None,
    markdown: Annotated[
        str | None,
        destination_option("--markdown", "Write Markdown to a file, or to standard output (-)."),
    ] = None,
) -> None:
    from edgecap import api
    from edgecap.benchmarks.baseline import share
    from edgecap.benchmarks.profile import table
    from edgecap.benchmarks.report import notes, to_csv, to_json, to_markdown
    from edgecap.benchmarks.terminal import tables
    from edgecap.core.errors import GateError

    check_destinations(json_, csv, markdown)
    limit = share(max_regression)
    report = api.bench(
        bundles or [],
        output=output,
        overwrite=overwrite,
        quick=quick,
        n=n,
        lang=lang,
        threads=threads,
        model=model,
        duration=duration,
        target=target,
        peers=peers,
        remote=remote,
        remote_python=remote_python,
        profile=profile,
        limits=limits,
        baseline=baseline,
        max_regression=limit,
        say=lambda text: typer.echo(text, err=True),
    )
    rows = report.rows
    write_json(to_json(report), json_)
    write_text(to_csv(rows), csv)
    write_text(to_markdown(report), markdown)
    if STANDARD_OUTPUT not in (json_, csv, markdown):
        from rich.console import Console

        for one in tables(rows):
            Console(markup=False).print(one)
        for name, profiled in (report.profiles or {}).items():
            typer.echo("\n".join([name, *table(profiled)]))
        for note in notes(report):
            typer.echo(note)
        typer.echo(f"report: {output / 'report.html'}")
    failed = [row for row in rows if row.error and not row.peer]
    if failed:
        raise GateError(
            "bench.failed",
            "; ".join(row.error or "" for row in failed),
            f"The rest is in {output}.",
        )
    if baseline is not None:
        _compare(report.changes, limit)


def _compare(changes: Sequence[Change], limit: float) -> None:
    """Print what is undecided; GateError that names what is worse than allowed."""
    from edgecap.benchmarks.statistics import Verdict
    from edgecap.core.errors import GateError

    for change in changes:
        if change.verdict is Verdict.UNDECIDED:
            typer.echo(f"undecided: {change.sentence()}", err=True)
    worse = [change.sentence() for change in changes if change.verdict is Verdict.ABOVE]
    if worse:
        raise GateError(
            "bench.regression", f"more than {limit:.0%} worse than the baseline: {'; '.join(worse)}"
        )
    typer.echo(f"no regression above {limit:.0%} was found", err=True)
