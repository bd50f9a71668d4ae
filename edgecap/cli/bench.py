"""`edgecap bench`: size, speed, memory and accuracy of bundles, beside PyTorch's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, check_destinations, write_json, write_text


def run(
    bundle: Annotated[
        list[Path] | None,
        typer.Argument(help="Bundles to measure; by default those in the working directory."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the report.")] = Path(
        "bench-report"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older report.")] = (
        False
    ),
    json_: Json = None,
    csv: Annotated[str | None, typer.Option("--csv", metavar="-|FILE", help="CSV too.")] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="-|FILE", help="Markdown too.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A minute instead of ten.")] = False,
    n: Annotated[
        int | None, typer.Option("--n", min=2, max=512, help="Scenes for the accuracy.")
    ] = None,
    lang: Annotated[str, typer.Option("--lang", help="Languages of the accuracy, or all.")] = "en",
    threads: Annotated[int, threads_option("Of each engine.")] = 1,
    weights: Annotated[
        str | None, typer.Option("--weights", help="For PyTorch; default: what was exported.")
    ] = None,
) -> None:
    """Measure bundles, each in a process of its own, in turns with PyTorch as the reference.

    Writes report.md, report.json, report.csv and latency.png. Exit code 1 where a target failed.
    What each figure means is said in edgecap/benchmarks/protocol.py.
    """
    from edgecap.benchmarks.machine import machine
    from edgecap.benchmarks.protocol import QUICK, Plan
    from edgecap.benchmarks.report import (
        MARKER,
        notes,
        to_csv,
        to_json,
        to_markdown,
        to_table,
        write_files,
    )
    from edgecap.benchmarks.runner import bench
    from edgecap.benchmarks.targets import bundles, images, targets
    from edgecap.core.atomic import atomic_dir
    from edgecap.core.choices import pick
    from edgecap.core.errors import GateError
    from edgecap.reference.scenes.grammar import picked_languages

    check_destinations(json_, csv, markdown)
    plan = replace(QUICK if quick else Plan(), languages=picked_languages(lang), threads=threads)
    if n is not None:
        plan = replace(plan, scenes=n)
    opened = bundles(bundle or [], Path())
    for one in opened:
        for language in plan.languages:
            pick("language", language, one.manifest.languages)
    # The place of the report is taken first: a refusal after ten minutes of work is none.
    with atomic_dir(out, overwrite, MARKER) as directory, images() as files:
        measured_on = machine()
        chosen = targets(opened, weights, files, threads)
        if not any(target.reference for target in chosen):
            typer.echo(
                "No PyTorch, or not the weights that were exported (--weights FILE): nothing to "
                "compare with.",
                err=True,
            )
        rows = bench(chosen, plan)
        write_files(directory, rows, plan, measured_on)
    write_json(to_json(rows, plan, measured_on), json_)
    write_text(to_csv(rows), csv)
    write_text(to_markdown(rows, plan, measured_on), markdown)
    if STANDARD_OUTPUT not in (json_, csv, markdown):
        from rich.console import Console

        Console(markup=False).print(to_table(rows))
        for note in notes(rows):
            typer.echo(note)
        typer.echo(f"report: {out / 'report.md'}")
    failed = [row for row in rows if row.error]
    if failed:
        raise GateError(
            "bench.failed", "; ".join(row.error or "" for row in failed), f"The rest is in {out}."
        )
