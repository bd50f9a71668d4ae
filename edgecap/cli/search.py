"""`edgecap search`: the images of an index nearest to a text or to an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._options import MODEL, Threads
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import InputError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    import numpy as np

    from edgecap.apps.retrieval import Hit
    from edgecap.runtime import Captioner

DETAILS = """
Prints rank, cosine, image and, if an object in it matched, its boxes. There are always K rows; a
low cosine means that nothing in the index fits. A query that is the path of a file is an image.

The model must be the one that made the index, in any format or precision: an int8 bundle searches
an index of its PyTorch weights.
"""


def run(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Directory of the index.")],
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Text, or an image file.")],
    k: Annotated[int, typer.Option("-k", metavar="N", help="Number of results.")] = 10,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help=f"{MODEL} Default: the one that made the index."),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE", help="Write a contact sheet of the results."),
    ] = None,
    json_: Json = None,
    threads: Threads = 1,
) -> None:
    from edgecap.apps.retrieval import open_index
    from edgecap.apps.retrieval.sheet import MOST, contact_sheet
    from edgecap.cli._image import check_image, save_image
    from edgecap.cli._model import load_embedder, load_maker

    is_text = _is_text(query)
    if sheet is not None:
        check_image(sheet, [] if is_text else [Path(query)])
        if k > MOST:
            raise InputError("sheet.number", f"a contact sheet shows {MOST} at most, got -k {k}.")
    opened = open_index(index)
    opened.check_number(k)
    source = opened.manifest.model.source
    captioner = load_maker(source, threads) if bundle is None else load_embedder(bundle, threads)
    opened.check(captioner)
    hits = opened.search(_vector(captioner, query, is_text), k)
    if sheet is not None:
        save_image(contact_sheet(query, is_text, hits), sheet)
        typer.echo(f"contact sheet in {sheet}", err=True)
    rows = [
        {"rank": h.rank, "image": str(h.path), "score": h.score, "boxes": h.boxes} for h in hits
    ]
    write_json({"query": query, "hits": rows}, json_)
    if json_ != STANDARD_OUTPUT:
        _show(hits)


def _is_text(query: str) -> bool:
    """Whether a query is a text; InputError for the name of an image that is not there."""
    from edgecap.runtime.preprocess import SUFFIXES

    # Not Path.is_file: that raises at what no file system could name, such as a long text.
    if os.path.isfile(query):
        return False
    if Path(query).suffix.lower() in SUFFIXES:
        raise InputError("image.missing", f"{query} does not exist.")
    return True


def _vector(captioner: Captioner, query: str, is_text: bool) -> np.ndarray:
    """f32 [E] of a text, or of the image in a file."""
    from edgecap.apps.texts import check_words

    if not is_text:
        return captioner.embed_images([query])[0]
    check_words(captioner, query)
    return captioner.embed_texts([query])[0]


def _show(hits: list[Hit]) -> None:
    from edgecap.cli._boxes import where

    typer.echo("rank  cosine  image")
    for hit in hits:
        found = f"  {where(hit.boxes)}" if hit.boxes else ""
        typer.echo(f"{hit.rank:4}  {hit.score:6.3f}  {printable(_from_here(hit.path))}{found}")


def _from_here(path: Path) -> str:
    """A path below the working directory without it."""
    current = Path.cwd()
    return str(path.relative_to(current) if path.is_relative_to(current) else path)
