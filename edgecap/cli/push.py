"""`edgecap push`: upload a bundle to a Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

DETAILS = """
Checks every file of the bundle and uploads what its manifest lists, with its model card, as one
commit. The repository is created if it does not exist. The token is read from HF_TOKEN.

Then, after edgecap pull, anywhere:
  edgecap caption photo.jpg --bundle org/name
"""


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle directory.")],
    name: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Id of the repository.")],
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision",
            metavar="BRANCH",
            help="Branch, created if it does not exist. Default: main.",
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Create the repository as a private one.")
    ] = False,
    message: Annotated[
        str | None, typer.Option("--message", metavar="TEXT", help="Message of the commit.")
    ] = None,
    json_: Json = None,
) -> None:
    from edgecap.bundle.files import MANIFEST
    from edgecap.bundle.io import open_bundle
    from edgecap.core import hub

    opened = open_bundle(bundle, verify="full")
    files = sorted({MANIFEST, *opened.manifest.files})
    url = hub.push(bundle, name, files, revision, private, message, _note)
    write_json({"bundle": str(bundle), "name": name, "revision": revision, "url": url}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(f"{name}: {url}")


def _note(text: str) -> None:
    typer.echo(f"  {text}", err=True)
