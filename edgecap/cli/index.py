"""`edgecap index`: embed a folder of images for searching."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._inputs import with_name
from edgecap.cli._library import ENGINES
from edgecap.cli._options import MODEL, Threads, output_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.choices import pick
from edgecap.core.errors import EdgecapError
from edgecap.core.lazy import require
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.apps.retrieval import Summary
    from edgecap.apps.retrieval.build import Embed

DETAILS = """
Indexes the images and the objects that the model sees in them. Run it again to refresh the index:
only new and changed images are embedded, and an interrupted run continues where it stopped.

An image that cannot be read is reported and left out; the exit code is then 2.
"""


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    output: Annotated[Path, output_option("Directory of the index.")],
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle",
            "-b",
            help=f"{MODEL} Default: the one that made the index, or the newest bundle in this "
            "directory.",
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Index whole images only (faster, lower recall)."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Rebuild the index, even a damaged one.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="local|ray",
            help="One process, or a Ray cluster: that of RAY_ADDRESS, else one on this machine.",
        ),
    ] = "local",
    workers: Annotated[
        int, typer.Option("--workers", min=1, metavar="N", help="Workers on Ray.")
    ] = 2,
    json_: Json = None,
    threads: Threads = 1,
) -> None:
    from edgecap.apps.retrieval import update
    from edgecap.apps.retrieval.build import loadable
    from edgecap.apps.retrieval.manifest import MANIFEST, read_manifest
    from edgecap.cli._model import chosen, load_embedder, load_maker, only_whole

    known = (output / MANIFEST).exists() and not overwrite
    if known and bundle is None:
        source = read_manifest(output).model.source
        captioner = load_maker(source, threads)
    else:
        source = chosen(bundle)
        captioner = load_embedder(source, threads)
    whole = only_whole(captioner, whole)
    pick("engine", engine, ENGINES)
    embed = _on_ray(source, workers, threads) if engine == "ray" else None
    summary = update(folder, output, captioner, loadable(source), threads, whole, overwrite, embed)
    write_json(_report(output, summary), json_)
    for failure in summary.failures:
        typer.echo(f"edgecap: {printable(with_name(failure.path, failure.error))}", err=True)
    if json_ != STANDARD_OUTPUT:
        _show(output, summary)
    if summary.failures:
        raise typer.Exit(EdgecapError.exit_code)


def _on_ray(source: str, workers: int, threads: int) -> Embed:
    """Embeds on the workers of a Ray cluster; MissingPackageError without Ray."""
    from edgecap.apps import ray_engine

    require(*ray_engine.PACKAGE)

    def embed(files: Sequence[Path], whole: bool) -> Iterator[dict[str, Any]]:
        return ray_engine.embeddings(files, source, workers=workers, threads=threads, whole=whole)

    return embed


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
        "renamed": summary.reused,
        "unchanged": summary.unchanged,
        "removed": summary.removed,
        "unreadable": len(summary.failures),
    }
    counts = ", ".join(f"{number} {what}" for what, number in parts.items() if number)
    typer.echo(f"{out}: {summary.images} images ({counts})")
