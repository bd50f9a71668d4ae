"""`edgecap explain`: what a captioner looked at, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._numbers import threads_option
from edgecap.core.errors import InputError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.apps.explain import CaptionTrace, Maps
    from edgecap.runtime import Captioner


def run(
    image: Annotated[Path, typer.Argument(help="An image of any size and mode.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="A page .html, or an image .png.")
    ],
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help="Bundle, model name or weights. Default: the newest."),
    ] = None,
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="en es fr de it pt zh ja, or one added.")
    ] = "en",
    style: Annotated[str, typer.Option("--style", help="grounded, plain, relate …")] = "grounded",
    maps: Annotated[
        str,
        typer.Option(
            "--maps",
            help="attention, layers (every head), occlusion, gradient (PyTorch only). As a,b.",
        ),
    ] = "attention",
    word: Annotated[
        str | None,
        typer.Option("--word", help="Shown first; in an image of layers, alone."),
    ] = None,
    threads: Annotated[int, threads_option()] = 1,
) -> None:
    """Caption an image and show, for every word, a map over the image.

    A page holds all maps asked for and needs nothing else to be read; an image holds one kind: of
    every word, or, for layers, of one word by every head. Layers need an export with --attention.
    Attention is where the model looked, not why it said something: occlusion tests that.
    How far the maps can be trusted is measured by `edgecap faithfulness`.
    """
    from edgecap.apps.explain import KINDS, find_word, trace_caption
    from edgecap.cli._maps import check_backend, picked_kinds
    from edgecap.cli._model import load_chosen

    kinds = picked_kinds(maps, tuple(KINDS))
    _check_kinds(kinds, out, word)
    _check(image, out)
    captioner = load_chosen(bundle, threads)
    check_backend(captioner, kinds)
    told = trace_caption(captioner, image, lang, style)
    first = find_word(told, word)
    found = [one for kind in kinds for one in _make(kind, captioner, told)]
    typer.echo(printable(told.attention.caption.text))
    _write(image, told, found, out, captioner, first)
    typer.echo(f"maps of {len(told.attention.words)} words in {out}", err=True)


def _make(kind: str, captioner: Captioner, told: CaptionTrace) -> Sequence[Maps]:
    """All maps of a kind: one, or one per head."""
    from edgecap.apps.explain import Maps, layers, per_word
    from edgecap.cli._maps import maker

    if kind != "layers":
        return [Maps(kind, per_word(told, maker(kind, captioner)(told)))]
    return [
        Maps(kind, per_word(told, of_head), layer, head)
        for layer, of_layer in enumerate(layers(captioner, told))
        for head, of_head in enumerate(of_layer)
    ]


def _check_kinds(kinds: Sequence[str], out: Path, word: str | None) -> None:
    if out.suffix.lower() != ".png":
        return
    if len(kinds) > 1:
        raise InputError(
            "explain.one_kind",
            f"an image shows one kind of maps; got {' and '.join(kinds)}.",
            "Name one of them, or write a page: -o page.html",
        )
    if word is not None and kinds != ["layers"]:
        raise InputError(
            "explain.every_word",
            f"an image of {kinds[0]} shows every word; --word {word} chooses one.",
            "Leave --word out, or pass --maps layers.",
        )


def _check(image: Path, out: Path) -> None:
    """Refuse before any work what could not be written after it."""
    from edgecap.cli._image import check_image
    from edgecap.cli._output import check_destinations

    if out.suffix.lower() == ".png":
        check_image(out, [image])
    elif out.suffix.lower() != ".html":
        raise InputError("explain.format", f"{out} must end in .html or .png.")
    check_destinations(str(out))


def _write(
    image: Path,
    told: CaptionTrace,
    maps: Sequence[Maps],
    out: Path,
    captioner: Captioner,
    word: int | None,
) -> None:
    if out.suffix.lower() == ".png":
        from edgecap.apps.explain.sheet import sheet
        from edgecap.apps.explain.table import table
        from edgecap.cli._image import save_image

        if maps[0].kind == "layers" and word is not None:
            save_image(table(image, told, maps, word), out)
        else:
            save_image(sheet(image, told, maps[0]), out)
        return
    from edgecap.apps.explain.page import page
    from edgecap.cli._output import write_text

    manifest = captioner.manifest
    facts = {
        "model": manifest.model,
        "format": f"{manifest.format} {manifest.precision}",
        "engine": captioner.backend,
        "language": told.attention.caption.lang,
    }
    write_text(page(image, told, maps, image.name, facts, word), str(out))
