"""`edgecap verify`: does this bundle do here what its reference did at export?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._options import Threads
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import GateError
from edgecap.core.formats import backends

if TYPE_CHECKING:
    from edgecap.api import Verification

DETAILS = """
Needs neither PyTorch nor a network. The exit code is 1 if an output is outside its tolerance, and 2
if the files are not those of the manifest.
"""


def run(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Bundle, a directory or .edgecap.")
    ],
    backend: Annotated[
        str, typer.Option("--backend", help=f"Engine: auto, {', '.join(backends())}.")
    ] = "auto",
    threads: Threads = 1,
    json_: Json = None,
) -> None:
    from edgecap import api

    verification = api.verify(bundle, backend=backend, threads=threads)
    write_json({"bundle": str(bundle), **asdict(verification)}, json_)
    if json_ != STANDARD_OUTPUT:
        _show(bundle, verification)
    if verification.failures:
        raise GateError(
            "verify.failed",
            f"{bundle}: {'; '.join(verification.failures)}.",
            "Look at this machine's engines with edgecap doctor, or export again.",
        )


def _show(bundle: Path, verification: Verification) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgecap.cli._contents import plain

    here, at_export = verification.here, verification.at_export
    table = Table(title=f"{plain(str(bundle))}: {plain(here.target)}", title_justify="left")
    for heading in ("output", "max abs", "allowed", "cosine", "allowed", ""):
        table.add_column(heading, justify="left" if heading in ("output", "") else "right")
    for output in here.outputs:
        table.add_row(
            plain(output.output),
            f"{output.max_abs:.3g}",
            f"{output.allowed_max_abs:.3g}",
            f"{output.cosine:.6f}",
            f"{output.allowed_cosine:.6f}",
            "ok" if output.passed else "FAILED",
        )
    Console(markup=False).print(table)
    listed = "all files as listed"
    if here.agreements:  # of a model that writes
        tokens = here.agreements[0].agreement
        listed += f"; greedy tokens equal in {tokens:.0%} of {here.scenes} cases"
    typer.echo(listed)
    if at_export is None:
        typer.echo("no certificate: this bundle was exported with --no-verify")
    else:
        typer.echo(f"at export: {plain(at_export.verdict)} on {at_export.scenes} scenes")
    typer.echo("FAILED" if here.failures else "verified")
