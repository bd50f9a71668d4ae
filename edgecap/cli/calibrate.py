"""`edgecap calibrate`: fit the confidence of a bundle's captions to images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._options import Threads
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

DETAILS = """
Captions the images of both directories and fits the confidence that separates good captions from
the others. The fit uses half of the images; the report is of the other half. The calibration is
written into the bundle, for `edgecap caption --min-confidence`.
"""


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle directory.")],
    images: Annotated[
        Path,
        typer.Option("--images", metavar="DIR", help="Images that the model captions well."),
    ],
    others: Annotated[
        Path,
        typer.Option("--others", metavar="DIR", help="Images that it should decline."),
    ],
    lang: Annotated[
        str | None, typer.Option("--lang", "-l", help="Language, for models with languages.")
    ] = None,
    style: Annotated[
        str | None, typer.Option("--style", help="Caption style, for models with styles.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Named prompt, for models with prompts.")
    ] = None,
    threads: Threads = 1,
    json_: Json = None,
) -> None:
    from edgecap.apps.calibration import calibrate

    named = {"lang": lang, "style": style, "prompt": prompt}
    options = {name: value for name, value in named.items() if value is not None}
    measured = calibrate(bundle, images, others, threads, **options)
    write_json({"bundle": str(bundle), **measured}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(
            f"{bundle}: calibrated. On the images that were not fitted, "
            f"--min-confidence auto captions {measured['kept']:.0%} of {measured['images']} "
            f"and declines {measured['declined']:.0%} of {measured['others']} others"
        )
