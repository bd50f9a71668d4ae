"""`edgecap pull`: download a bundle or a checkpoint from a Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

DETAILS = """
Downloads into the hub's local cache (HF_HOME), which all other commands look at: they download
nothing themselves. Of a checkpoint, safetensors, configuration and tokenizer are downloaded, and
neither pickles nor code. The token of a private one comes from the environment: HF_TOKEN.

Examples:
  edgecap caption photo.jpg --bundle org/name
  edgecap export org/name@v2 --format onnx
"""


def run(
    name: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="Its id; org/name@revision also works.")
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
        raise InputError("hub.name", f"{name!r} is no hub id.", "Write it as: org/name")
    found = hub.pull(plain, revision or given or None, FILES)
    write_json({"name": plain, "path": str(found)}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(f"{name} is in {found}")
