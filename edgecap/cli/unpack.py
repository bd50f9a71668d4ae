"""`edgecap unpack`: a packed bundle as a directory again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._options import Overwrite
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

DETAILS = """
Every file is checked before any is written, and the directory appears complete or not at all.
"""


def run(
    packed: Annotated[Path, typer.Argument(metavar="FILE", help="A packed bundle, .edgecap.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory to write. Default: FILE without .edgecap."),
    ] = None,
    overwrite: Overwrite = False,
    json_: Json = None,
) -> None:
    from edgecap.bundle.packing import unpack

    directory = unpack(packed, output, overwrite)
    write_json({"directory": str(directory)}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(str(directory))
