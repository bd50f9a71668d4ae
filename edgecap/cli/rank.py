"""`edgecap rank`: which of some statements an image supports."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from edgecap.cli._inputs import one_image
from edgecap.cli._options import Bundle, Image, Lang, Threads
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.language import resolve_language
from edgecap.core.printable import printable

DETAILS = """
Columns: the statement's share among those given (they sum to 1), its log-likelihood ratio in nats
(how much more probable the image makes it than a grey image does), and the statement.

The order is relative: some statement always comes first. If the model would write none of them
about the image, a message on standard error says so.
"""


def run(
    image: Image,
    statements: Annotated[
        list[str],
        typer.Argument(
            metavar="STATEMENT...",
            help='Sentences worded as captions are: "The dog is left of the cat."',
        ),
    ],
    lang: Lang = "en",
    bundle: Bundle = None,
    json_: Json = None,
    threads: Threads = 1,
) -> None:
    from edgecap.apps.grounding import rank_statements
    from edgecap.cli._model import load_chosen

    given = one_image(image)
    captioner = load_chosen(bundle, threads)
    lang = resolve_language(lang, captioner.languages)
    ranked = rank_statements(captioner, given.source, statements, lang)
    rows = [asdict(one) | {"above_threshold": one.above_threshold} for one in ranked]
    for row in rows:
        row["least"] = row.pop("min_token_logprob")  # the JSON's name is older
    write_json({"image": given.name, "lang": lang, "statements": rows}, json_)
    if json_ == STANDARD_OUTPUT:
        return
    for one in ranked:
        text = printable(one.statement)
        typer.echo(f"{one.share:5.2f}  {one.log_likelihood_ratio:+7.1f}  {text}")
    if not ranked[0].above_threshold:
        typer.echo(
            "the model would write none of these about this image: they are untrue, or worded as "
            'no caption is ("The dog is left of the cat.")',
            err=True,
        )
