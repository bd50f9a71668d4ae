"""`edgecap caption`: say what is in images, and draw where."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._image import check_image, save_image
from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import EdgecapError, InputError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.runtime import Caption, Sampling

_CHOICE = "How words are chosen"


def run(
    images: Annotated[
        list[Path], typer.Argument(help="Images of any size and mode, or directories of them.")
    ],
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help="Bundle, model name or weights. Default: the newest."),
    ] = None,
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="en es fr de it pt zh ja, or one added.")
    ] = "en",
    style: Annotated[
        str | None, typer.Option("--style", help="grounded (the default), plain, relate …")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", help="Write the image with labelled boxes here.")
    ] = None,
    json_: Json = None,
    on_error: Annotated[
        str, typer.Option("--on-error", help="At a bad image: skip it, or fail.")
    ] = "skip",
    threads: Annotated[int, threads_option()] = 1,
    device: Annotated[str, typer.Option("--device", help="cpu, or cuda for PyTorch.")] = "cpu",
    beams: Annotated[int, typer.Option("--beams", help="1: greedy.", rich_help_panel=_CHOICE)] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature", help="Draw words; 1 as the model says.", rich_help_panel=_CHOICE
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", help="Draw from the k most probable.", rich_help_panel=_CHOICE),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", help="Draw from this share.", rich_help_panel=_CHOICE),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the drawing.", rich_help_panel=_CHOICE)
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", help="Tokens at most.", rich_help_panel=_CHOICE),
    ] = None,
) -> None:
    """Caption images; boxes are in the pixels of each image.

    An image that cannot be read is reported and the others are captioned; the exit code is then 2.
    With --on-error fail it ends the run, after what was captioned before it.
    Words are the most probable ones, unless beams or one of the options of drawing are given.
    """
    from edgecap.cli._folders import all_images, told_failure
    from edgecap.cli._model import chosen
    from edgecap.core.progress import progress
    from edgecap.models.loading import load

    files = all_images(images)
    if draw is not None:
        check_image(draw, files)
        if len(files) > 1:
            raise InputError("draw.several", "--draw takes one image.", "Give one IMAGE.")
    captioner = load(chosen(bundle), threads=threads, device=device)
    alone = len(files) == 1
    said = captioner.caption_many(
        files,
        lang=lang,
        style=style,
        beams=beams,
        max_length=max_length,
        sampling=_sampling(temperature, top_k, top_p, seed),
        on_error=on_error,  # type: ignore[arg-type]
    )
    rows: list[dict[str, Any]] = []
    failures = 0
    if json_ == STANDARD_OUTPUT:
        said = progress(said, "captions", len(files))
    try:
        for image, caption in zip(files, said, strict=True):
            if isinstance(caption, InputError):
                if alone:
                    raise caption
                failures += 1
                rows.append(told_failure(image, caption))
                continue
            rows.append({"image": str(image), **asdict(caption)})
            if json_ != STANDARD_OUTPUT:
                _show(image, caption, several=not alone)
            if draw is not None:
                _draw(image, caption, draw)
    finally:  # whatever ends the run, what is done is told
        if rows:
            write_json(rows, json_)
    if failures:
        raise typer.Exit(EdgecapError.exit_code)


def _sampling(
    temperature: float | None, top_k: int | None, top_p: float | None, seed: int | None
) -> Sampling | None:
    """How to draw, or None where no option of drawing was given."""
    from edgecap.runtime import Sampling

    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    return Sampling(**chosen) if chosen else None  # type: ignore[arg-type]


def _draw(image: Path, caption: Caption, path: Path) -> None:
    from edgecap.runtime.draw import draw

    drawn = draw(image, caption.mentions)
    save_image(drawn.image, path)
    if drawn.note:
        typer.echo(drawn.note, err=True)
    boxed = any(mention.boxes for mention in caption.mentions)
    told = "boxes drawn in" if boxed else "this caption has no boxes; the image is in"
    typer.echo(f"{told} {path}", err=True)


def _show(image: Path, caption: Caption, several: bool) -> None:
    from edgecap.cli._boxes import edges

    text = printable(caption.text)
    typer.echo(f"{printable(str(image))}: {text}" if several else text)
    for mention in caption.mentions:
        for box, score in zip(mention.boxes, mention.scores, strict=True):
            typer.echo(f"  {printable(mention.phrase)}  [{edges(box)}]  {score:.2f}")
