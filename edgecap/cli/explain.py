"""`edgecap explain`: where a captioner looked, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._inputs import GivenImage, one_image
from edgecap.cli._options import Bundle, Image, Lang, Style, Threads, output_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import InputError
from edgecap.core.language import resolve_language
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.apps.explain import CaptionTrace, Maps
    from edgecap.runtime import Captioner

DETAILS = """
A .html page shows every kind of map that --maps names and needs no other file. A .png shows one
kind, for every word; the kind "layers" shows one word by layer and head.

Attention shows where the model looked, not why it chose a word; occlusion tests what each part of
the image contributes. `edgecap faithfulness` measures how far the maps can be trusted.
"""


def run(
    image: Image,
    output: Annotated[Path, output_option("Page (.html) or image (.png) to write.", "FILE")],
    bundle: Bundle = None,
    lang: Lang = "en",
    style: Style = "grounded",
    maps: Annotated[
        str,
        typer.Option(
            "--maps",
            help="Kinds of maps, comma-separated: attention, occlusion, layers (needs an export "
            "with --attention) and gradient (PyTorch only).",
        ),
    ] = "attention",
    word: Annotated[
        str | None,
        typer.Option("--word", help="Word to show first; in a .png of layers, the only one."),
    ] = None,
    json_: Json = None,
    threads: Threads = 1,
) -> None:
    from edgecap.apps.explain import KINDS, find_word, trace_caption
    from edgecap.cli._maps import check_backend, picked_kinds
    from edgecap.cli._model import load_chosen

    kinds = picked_kinds(maps, tuple(KINDS))
    _check_kinds(kinds, output, word)
    given = one_image(image)
    _check(given, output)
    captioner = load_chosen(bundle, threads)
    check_backend(captioner, kinds)
    language = resolve_language(lang, captioner.languages)
    trace = trace_caption(captioner, given.source, language, style)
    first = find_word(trace, word)
    found = [one for kind in kinds for one in _make(kind, captioner, trace)]
    write_json(_report(given.name, trace, found), json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(printable(trace.attention.caption.text))
    _write(given, trace, found, output, captioner, first)
    typer.echo(f"maps of {len(trace.attention.words)} words in {output}", err=True)


def _report(name: str, trace: CaptionTrace, maps: Sequence[Maps]) -> dict[str, Any]:
    """Plain data: the caption, its words, and of each kind a map [words,G,G]."""
    return {
        "image": name,
        "caption": asdict(trace.attention.caption),
        "words": [word.text for word in trace.attention.words],
        "maps": [
            {"kind": m.kind, "layer": m.layer, "head": m.head, "values": m.words.tolist()}
            for m in maps
        ],
    }


def _make(kind: str, captioner: Captioner, trace: CaptionTrace) -> Sequence[Maps]:
    """All maps of a kind: one, or one per head."""
    from edgecap.apps.explain import Maps, layers, per_word
    from edgecap.cli._maps import maker

    if kind != "layers":
        return [Maps(kind, per_word(trace, maker(kind, captioner)(trace)))]
    return [
        Maps(kind, per_word(trace, of_head), layer, head)
        for layer, of_layer in enumerate(layers(captioner, trace))
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


def _check(image: GivenImage, out: Path) -> None:
    """Refuse before any work what could not be written after it."""
    from edgecap.cli._image import check_image
    from edgecap.cli._output import check_destinations

    if out.suffix.lower() == ".png":
        check_image(out, [image.path] if image.path else [])
    elif out.suffix.lower() != ".html":
        raise InputError("explain.format", f"{out} must end in .html or .png.")
    check_destinations(str(out))


def _write(
    image: GivenImage,
    trace: CaptionTrace,
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
            save_image(table(image.source, trace, maps, word), out)
        else:
            save_image(sheet(image.source, trace, maps[0]), out)
        return
    from edgecap.apps.explain.page import page
    from edgecap.cli._output import write_text

    manifest = captioner.manifest
    facts = {
        "model": manifest.model.source,
        "format": f"{manifest.format} {manifest.precision}",
        "engine": captioner.backend,
        "language": trace.attention.caption.lang,
    }
    write_text(page(image.source, trace, maps, Path(image.name).name, facts, word), str(out))
