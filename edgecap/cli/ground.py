"""`edgecap ground`: find what a phrase refers to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._inputs import one_image
from edgecap.cli._options import Bundle, Image, Lang, Threads
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.language import resolve_language
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.apps.grounding import Grounding

DETAILS = """
Prints the box, in pixels of the image, and its probability. If several objects have the name, the
rest of the phrase decides; the other objects follow with their probabilities.

If nothing in the image matches the phrase, a message on standard error says that the box is a
guess.
"""


def run(
    image: Image,
    phrase: Annotated[
        str,
        typer.Argument(
            metavar="PHRASE", help='What to look for: "the red circle left of the dog".'
        ),
    ],
    lang: Lang = "en",
    bundle: Bundle = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", metavar="FILE", help="Write the image with the box.")
    ] = None,
    json_: Json = None,
    threads: Threads = 1,
) -> None:
    from edgecap.apps.grounding import ground
    from edgecap.cli._image import check_image, save_image
    from edgecap.cli._model import load_chosen

    given = one_image(image)
    if draw is not None:
        check_image(draw, [given.path] if given.path else [])
    captioner = load_chosen(bundle, threads)
    lang = resolve_language(lang, captioner.languages)
    found = ground(captioner, given.source, phrase, lang)
    values = asdict(found)
    values["least"] = values.pop("min_token_logprob")  # the JSON's names are older
    write_json({"image": given.name, "lang": lang, "seen": found.is_supported, **values}, json_)
    if json_ != STANDARD_OUTPUT:
        _show(found)
    if draw is not None:
        from edgecap.runtime import Mention
        from edgecap.runtime.draw import draw as drawn_on

        best = found.referents[0]
        mention = Mention(found.phrase, (0, len(phrase)), (best.box,), (best.probability,))
        drawn = drawn_on(given.source, [mention])
        save_image(drawn.image, draw)
        if drawn.note:
            typer.echo(printable(drawn.note), err=True)
        typer.echo(f"box drawn in {draw}", err=True)


def _show(found: Grounding) -> None:
    from edgecap.cli._boxes import edges

    for referent in found.referents:
        typer.echo(f"[{edges(referent.box)}]  {referent.probability:.2f}")
    typer.echo(f"looked for: {printable(found.sentence)}", err=True)
    if not found.is_supported:
        typer.echo("nothing in the image matches this phrase: the box is a guess", err=True)
