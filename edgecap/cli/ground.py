"""`edgecap ground`: point at what a phrase means."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from edgecap.apps.grounding import Grounding


def run(
    image: Annotated[Path, typer.Argument(help="An image of any size and mode.")],
    phrase: Annotated[str, typer.Argument(help='"the red circle left of the dog"')],
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="en es fr de it pt zh ja, or one added.")
    ] = "en",
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help="Bundle, model name or weights. Default: the newest."),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", help="Write the image with the box here.")
    ] = None,
    json_: Json = None,
    threads: Annotated[int, threads_option()] = 1,
) -> None:
    """The box of what a phrase means, in the image's pixels, and how sure that is.

    Where several things bear the name, what the phrase says of it decides, and the others follow
    with their probability.
    """
    from edgecap.apps.grounding import ground
    from edgecap.cli._image import check_image, save_image
    from edgecap.cli._model import load_chosen

    if draw is not None:
        check_image(draw, [image])
    found = ground(load_chosen(bundle, threads), image, phrase, lang)
    told = {"image": str(image), "lang": lang, "seen": found.seen, **asdict(found)}
    write_json(told, json_)
    if json_ != STANDARD_OUTPUT:
        _show(found)
    if draw is not None:
        from edgecap.runtime import Mention
        from edgecap.runtime.draw import draw as drawn_on

        best = found.referents[0]
        mention = Mention(found.phrase, (0, len(phrase)), (best.box,), (best.probability,))
        drawn = drawn_on(image, [mention])
        save_image(drawn.image, draw)
        if drawn.note:
            typer.echo(drawn.note, err=True)
        typer.echo(f"box drawn in {draw}", err=True)


def _show(found: Grounding) -> None:
    from edgecap.cli._boxes import edges

    for referent in found.referents:
        typer.echo(f"[{edges(referent.box)}]  {referent.probability:.2f}")
    typer.echo(f"asked: {found.sentence}", err=True)
    if not found.seen:
        typer.echo("the image does not speak for this phrase: the box is a guess", err=True)
