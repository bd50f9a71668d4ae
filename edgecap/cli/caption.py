"""`edgecap caption`: say what is in pictures, and draw where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.core.errors import EdgecapError, InputError

if TYPE_CHECKING:
    from edgecap.runtime import Caption, Captioner


def run(
    images: Annotated[list[Path], typer.Argument(help="Pictures of any size and mode.")],
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help="Bundle, model name or weights. Default: the newest."),
    ] = None,
    lang: Annotated[str, typer.Option("--lang", "-l", help="en es fr de it pt zh ja.")] = "en",
    style: Annotated[
        str | None, typer.Option("--style", help="grounded (the default), plain, relate …")
    ] = None,
    beams: Annotated[int, typer.Option("--beams", help="1: greedy.")] = 1,
    draw: Annotated[
        Path | None, typer.Option("--draw", help="Write the picture with labelled boxes here.")
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON list on standard output.")
    ] = False,
    threads: Annotated[int, typer.Option("--threads", help="CPU threads.")] = 1,
) -> None:
    """Caption pictures; boxes are in the pixels of each picture.

    A picture that cannot be read is reported and the others are captioned; the exit code is then 2.
    """
    from edgecap.runtime import load
    from edgecap.runtime.choosing import choose

    _check_drawing(images, draw)
    source = bundle
    if source is None:
        source, why = choose(Path())
        typer.echo(f"using {source} ({why})", err=True)
    captioner = load(source, threads=threads)
    captioner.vocabulary.prompt(lang, style or "grounded")  # refused before any picture is read
    rows: list[dict[str, Any]] = []
    failures = 0
    for image in images:
        try:
            caption = _caption(captioner, image, lang, style, beams)
        except InputError as error:
            if len(images) == 1:
                raise
            failures += 1
            typer.echo(f"edgecap: {error}", err=True)
            rows.append({"image": str(image), "error": {"code": error.code, "text": error.message}})
            continue
        rows.append({"image": str(image), **asdict(caption)})
        if not json_:
            _show(image, caption, several=len(images) > 1)
        if draw is not None:
            _draw(image, caption, draw)
    if json_:
        import json

        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    if failures:
        raise typer.Exit(EdgecapError.exit_code)


def _caption(
    captioner: Captioner, image: Path, lang: str, style: str | None, beams: int
) -> Caption:
    return captioner.caption([image], lang=lang, style=style, beams=beams)[0]


def _check_drawing(images: Sequence[Path], draw: Path | None) -> None:
    """Refuse before any work what could not be written after it."""
    if draw is None:
        return
    if len(images) > 1:
        raise InputError("draw.several", "--draw takes one picture at a time.", "Give one IMAGE.")
    if draw.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError("draw.format", f"{draw} must end in .png, .jpg or .webp.")
    if not draw.parent.is_dir() or draw.is_dir():
        raise InputError("output.unwritable", f"{draw} cannot be written: no such directory.")
    if draw.exists() and images[0].exists() and draw.samefile(images[0]):
        raise InputError("draw.overwrites", f"{draw} is the picture itself.", "Name another file.")


def _draw(image: Path, caption: Caption, path: Path) -> None:
    from edgecap.runtime.draw import draw, save

    drawn = draw(image, caption.mentions)
    try:
        save(drawn, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("output.unwritable", f"{path} cannot be written: {reason}.") from None
    if drawn.note:
        typer.echo(drawn.note, err=True)
    typer.echo(f"boxes drawn in {path}", err=True)


def _show(image: Path, caption: Caption, several: bool) -> None:
    typer.echo(f"{image}: {caption.text}" if several else caption.text)
    for mention in caption.mentions:
        for box, score in zip(mention.boxes, mention.scores, strict=True):
            edges = " ".join(f"{edge:.0f}" for edge in box)
            typer.echo(f"  {mention.phrase}  [{edges}]  {score:.2f}")
