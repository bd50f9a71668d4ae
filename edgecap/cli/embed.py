"""`edgecap embed`: a project for an app, with bundle and runtime inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._options import output_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.embed.targets import targets

DETAILS = """
The project is small and yours to change. The bundle inside has no files for verification; keep the
original for `edgecap verify`. What each target needs to build: docs/embedding.md.
"""


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle directory or .edgecap.")],
    target: Annotated[str, typer.Option("--target", "-t", help=f"One of: {', '.join(targets())}.")],
    output: Annotated[Path, output_option("Directory to write.")],
    json_: Json = None,
) -> None:
    from edgecap.embed.project import write_project

    directory = write_project(target, bundle, output)
    row, _ = targets()[target]
    write_json({"directory": str(directory), "target": target, "next": row.next}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(f"{directory}: {row.summary}")
        typer.echo(f"Next, in that directory: {row.next}")
