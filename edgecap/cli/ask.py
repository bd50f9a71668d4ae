"""`edgecap ask`: which of some statements is true of an image."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json


def run(
    image: Annotated[Path, typer.Argument(help="An image of any size and mode.")],
    statements: Annotated[
        list[str], typer.Argument(help='"The dog is left of the cat." and its alternatives.')
    ],
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="en es fr de it pt zh ja, or one added.")
    ] = "en",
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help="Bundle, model name or weights. Default: the newest."),
    ] = None,
    json_: Json = None,
    threads: Annotated[int, threads_option()] = 1,
) -> None:
    """Rank statements by how far the image speaks for each, the truest first.

    A statement's log_likelihood_ratio is how much likelier the model finds it with the image than
    with a grey one; its share is among the statements given. One always comes first: where the
    model would say none of them of the image, standard error says so.
    """
    from edgecap.apps.grounding import rank_statements
    from edgecap.cli._model import load_chosen

    judged = rank_statements(load_chosen(bundle, threads), image, statements, lang)
    rows = [asdict(one) | {"above_threshold": one.above_threshold} for one in judged]
    told = {"image": str(image), "lang": lang, "statements": rows}
    write_json(told, json_)
    if json_ == STANDARD_OUTPUT:
        return
    for one in judged:
        typer.echo(f"{one.share:5.2f}  {one.log_likelihood_ratio:+7.1f}  {one.statement}")
    if not judged[0].above_threshold:
        typer.echo(
            "the model would not say even the first of this image: it is untrue, or worded as no "
            'caption is ("The dog is left of the cat.")',
            err=True,
        )
