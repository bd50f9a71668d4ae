"""`edgecap index`: a folder of images, ready to be searched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import EdgecapError

if TYPE_CHECKING:
    from edgecap.apps.retrieval import Summary


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The index's directory.")],
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle", "-b", help="Bundle or weights. Default: the index's, else the newest."
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Whole images alone: faster, and texts must say all."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, also where an index is damaged.")
    ] = False,
    json_: Json = None,
    threads: Annotated[int, threads_option()] = 1,
) -> None:
    """Embed the images of a folder and the things in them; run it again to bring it up to date.

    Only new and changed images are embedded. An interrupted run is taken up where it stopped. A
    image that cannot be read is reported and left out; the exit code is then 2.
    """
    from edgecap.apps.retrieval import update
    from edgecap.apps.retrieval.build import loadable
    from edgecap.apps.retrieval.manifest import MANIFEST, read_manifest
    from edgecap.cli._model import chosen, load_maker
    from edgecap.models.loading import load

    known = (out / MANIFEST).exists() and not overwrite
    if known and bundle is None:
        source = read_manifest(out).model.source
        captioner = load_maker(source, threads)
    else:
        source = chosen(bundle)
        captioner = load(source, threads=threads)
    summary = update(folder, out, captioner, loadable(source), threads, whole, overwrite)
    write_json(_report(out, summary), json_)
    for failure in summary.failures:
        typer.echo(f"edgecap: {failure.path}: {failure.error}", err=True)
    if json_ != STANDARD_OUTPUT:
        _show(out, summary)
    if summary.failures:
        raise typer.Exit(EdgecapError.exit_code)


def _report(out: Path, summary: Summary) -> dict[str, Any]:
    return {
        "index": str(out),
        "images": summary.images,
        "embedded": summary.embedded,
        "reused": summary.reused,
        "unchanged": summary.unchanged,
        "removed": summary.removed,
        "failures": [
            {"image": f.path, "error": {"code": f.error.code, "text": f.error.message}}
            for f in summary.failures
        ],
    }


def _show(out: Path, summary: Summary) -> None:
    parts = {
        "embedded": summary.embedded,
        "known under another name": summary.reused,
        "unchanged": summary.unchanged,
        "removed": summary.removed,
        "not readable": len(summary.failures),
    }
    told = ", ".join(f"{number} {what}" for what, number in parts.items() if number)
    typer.echo(f"{out}: {summary.images} images ({told})")
