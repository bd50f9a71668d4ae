"""`edgecap pull`: download a bundle or a checkpoint from a Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

DETAILS = """
Downloads into the hub's local cache (HF_HOME), where all other commands look for it: they download
nothing themselves. Of a checkpoint it takes safetensors, configuration and tokenizer, and neither
pickles nor code. The token for a private repository is read from HF_TOKEN.

Examples:
  edgecap caption photo.jpg --bundle org/name
  edgecap export org/name@v2 --format onnx
"""


def run(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ORG/NAME", help="Id of the repository; org/name@revision also works."
        ),
    ],
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="NAME", help="Branch, tag or commit. Default: main."),
    ] = None,
    json_: Json = None,
) -> None:
    from edgecap.core import hub
    from edgecap.core.errors import InputError
    from edgecap.models.checkpoint import FILES

    plain, _, given = name.partition("@")
    if not hub.is_id(plain):
        raise InputError("hub.name", f"{name!r} is not a hub id.", "Write it as: org/name")
    found = hub.pull(plain, revision or given or None, FILES)
    write_json({"name": plain, "path": str(found)}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(f"{name} is in {found}")
