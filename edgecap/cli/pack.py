"""`edgecap pack`: a bundle as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._options import Overwrite
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

DETAILS = """
Every command and the C and JavaScript runtimes open the file directly: nothing is unpacked, and the
model is mapped into memory. It is a zip archive without compression. The same bundle gives the same
bytes.
"""


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle directory.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: BUNDLE's name + .edgecap."),
    ] = None,
    strip: Annotated[
        bool,
        typer.Option(
            "--strip",
            help="Leave out files that an app does not need: golden cases, certificate, card.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    json_: Json = None,
) -> None:
    from edgecap.bundle.packing import pack

    packed = pack(bundle, output, strip, overwrite)
    size = packed.stat().st_size
    write_json({"file": str(packed), "bytes": size}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(f"{packed}: {size:,} bytes")
