"""`edgecap verify`: does this bundle do here what its reference did there?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import GateError
from edgecap.core.formats import backends

if TYPE_CHECKING:
    from edgecap.bundle.certificate import Certificate
    from edgecap.bundle.io import Bundle


def run(
    bundle: Annotated[Path, typer.Argument(help="The bundle's directory.")],
    backend: Annotated[
        str, typer.Option("--backend", help=f"auto, {', '.join(backends())}.")
    ] = "auto",
    threads: Annotated[int, threads_option()] = 1,
    json_: Json = None,
) -> None:
    """Check every file of a bundle, then replay its golden inputs on this machine's runtime.

    Needs neither PyTorch nor a network. Exit code 1 where an output lies outside its tolerance, 2
    where the bundle is not what its manifest says.
    """
    from edgecap.bundle.golden import read_golden
    from edgecap.bundle.io import open_bundle
    from edgecap.models.loading import load
    from edgecap.runtime.replay import replay

    opened = open_bundle(bundle)
    at_export = _certificate(opened)
    golden = read_golden(opened)
    here = replay(load(bundle, backend=backend, threads=threads), golden)
    exported = asdict(at_export) if at_export else None
    write_json({"bundle": str(bundle), "here": asdict(here), "at_export": exported}, json_)
    if json_ != STANDARD_OUTPUT:
        _show(opened, here, at_export)
    failures = [f"here: {line}" for line in here.failures]
    failures += [f"at export: {line}" for line in at_export.failures] if at_export else []
    if failures:
        raise GateError(
            "verify.failed",
            f"{bundle}: {'; '.join(failures)}.",
            "Look at this machine's engines with edgecap doctor, or export again.",
        )


def _certificate(bundle: Bundle) -> Certificate | None:
    """The certificate made at export; None where the export was not verified."""
    from edgecap.bundle.certificate import certificate_from_json
    from edgecap.bundle.manifest import CERTIFICATE

    if CERTIFICATE not in bundle.manifest.files:
        return None
    return certificate_from_json(bundle.json(CERTIFICATE))


def _show(bundle: Bundle, here: Certificate, at_export: Certificate | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgecap.cli._contents import plain

    title = f"{plain(bundle.manifest.name)}: {plain(here.target)}"
    table = Table(title=title, title_justify="left")
    for heading in ("output", "max abs", "allowed", "cosine", "allowed", ""):
        table.add_column(heading, justify="left" if heading in ("output", "") else "right")
    for output in here.outputs:
        table.add_row(
            output.output,
            f"{output.max_abs:.3g}",
            f"{output.allowed_max_abs:.3g}",
            f"{output.cosine:.6f}",
            f"{output.allowed_cosine:.6f}",
            "ok" if output.passed else "FAILED",
        )
    Console(markup=False).print(table)
    files = len(bundle.manifest.files)
    tokens = here.agreements[0].agreement
    typer.echo(f"{files} files as listed; greedy tokens equal in {tokens:.0%} of {here.scenes}")
    if at_export is None:
        typer.echo("no certificate: this bundle was exported with --no-verify")
    else:
        typer.echo(f"at export: {at_export.verdict} on {at_export.scenes} scenes")
    typer.echo("FAILED" if here.failures else "verified")
