"""`edgecap bench`: size, speed, memory and accuracy of bundles, beside PyTorch's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._options import (
    WEIGHTS,
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

RENAMED = {"--weights": "--model"}
DETAILS = """
Every bundle runs in a process of its own, in turns with PyTorch as the reference. Takes about ten
minutes, with --quick about one. Writes report.md, report.json, report.csv and latency.png; the
report explains its columns. The exit code is 1 where a bundle failed.
"""


def run(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[BUNDLE...]", help="Bundle directories. Default: those that lie here."
        ),
    ] = None,
    output: Annotated[Path, output_option("Directory of the report.")] = Path("bench-report"),
    overwrite: Overwrite = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure for a minute instead of ten.")
    ] = False,
    n: Annotated[
        int | None, count_option("Number of scenes for the accuracy, 2 to 128.", 2, 128)
    ] = None,
    lang: Languages = "en",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"PyTorch reference: {WEIGHTS[0].lower()}{WEIGHTS[1:]} "
            "Default: the weights that were exported.",
        ),
    ] = None,
    threads: Annotated[int, threads_option("CPU threads of each engine.")] = 1,
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
    from edgecap.benchmarks.report import notes, to_csv, to_json, to_markdown, to_table
    from edgecap.core.errors import GateError

    check_destinations(json_, csv, markdown)
    measured = api.bench(
        bundles or [],
        output=output,
        overwrite=overwrite,
        quick=quick,
        n=n,
        lang=lang,
        threads=threads,
        model=model,
        say=lambda text: typer.echo(text, err=True),
    )
    rows = measured.rows
    write_json(to_json(rows, measured.plan, measured.machine), json_)
    write_text(to_csv(rows), csv)
    write_text(to_markdown(rows, measured.plan, measured.machine), markdown)
    if STANDARD_OUTPUT not in (json_, csv, markdown):
        from rich.console import Console

        Console(markup=False).print(to_table(rows))
        for note in notes(rows):
            typer.echo(note)
        typer.echo(f"report: {output / 'report.md'}")
    failed = [row for row in rows if row.error]
    if failed:
        raise GateError(
            "bench.failed",
            "; ".join(row.error or "" for row in failed),
            f"The rest is in {output}.",
        )
