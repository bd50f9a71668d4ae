"""`edgecap caption` for many images: rows that are kept as they come, by one process or by Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from edgecap.cli._inputs import with_name
from edgecap.core.choices import pick
from edgecap.core.errors import EdgecapError, InputError
from edgecap.core.printable import printable

ENGINES = ("local", "ray")


def caption_library(
    given: Sequence[str],
    source: str,
    engine: str,
    workers: int,
    threads: int,
    jsonl: str | None,
    parquet: Path | None,
    resume: bool,
    on_error: str,
    min_confidence: Any,
    options: dict[str, Any],
) -> None:
    """Caption the images that have no row yet; exit code 2 where one cannot be read."""
    from edgecap.apps.row_store import open_store
    from edgecap.core.progress import progress

    pick("engine", engine, ENGINES)
    pick("on_error", on_error, ("fail", "skip"))
    if (jsonl is None) == (parquet is None) or jsonl == "-":
        raise InputError(
            "caption.library",
            "a run on Ray, or one that can be resumed, needs one place for its rows.",
            "Give one of --jsonl FILE and --parquet DIR.",
        )
    names = _files(given)
    done, writer = open_store(None if jsonl is None else Path(jsonl), parquet, resume)
    left = [name for name in names if name not in done]
    if engine == "ray":
        from edgecap.apps import ray_engine

        rows = ray_engine.captions(
            left, source, workers=workers, threads=threads, min_confidence=min_confidence, **options
        )
    else:
        rows = _local(left, source, threads, min_confidence, options)
    failures = 0
    with writer as write:
        for row in progress(rows, "captions", len(left)):
            write(row)
            if "error" in row:
                failures += 1
                error = InputError(row["error"]["code"], row["error"]["text"])
                if on_error == "fail":
                    raise error
                typer.echo(f"edgecap: {printable(with_name(row['image'], error))}", err=True)
    typer.echo(
        f"{jsonl or parquet}: {len(left) - failures} captioned, {failures} unreadable, "
        f"{len(names) - len(left)} done before"
    )
    if failures:
        raise typer.Exit(EdgecapError.exit_code)


def _local(
    names: Sequence[str], source: str, threads: int, min_confidence: Any, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """As `ray_engine.captions`, in this process."""
    from edgecap.models.loading import load
    from edgecap.runtime import Caption

    captioner = load(source, threads=threads, min_confidence=min_confidence)
    found = captioner.caption_many([Path(name) for name in names], **options, on_error="skip")

    def rows() -> Iterator[dict[str, Any]]:
        for name, one in zip(names, found, strict=True):
            fields = asdict(one) if isinstance(one, Caption) else None
            error = None if fields else {"error": {"code": one.code, "text": one.message}}
            yield {"image": name, **(fields or error or {})}

    return rows()


def _files(given: Sequence[str]) -> list[str]:
    """The image files that are named, in order; InputError for what is no file."""
    from edgecap.runtime.sources import Sources

    sources = Sources(given)
    for line in sources.passed:
        typer.echo(f"edgecap: {printable(line)}", err=True)
    names = []
    if sources.count is not None:
        for item in sources:
            if not isinstance(item.image, Path):
                break
            names.append(item.name)
    if sources.count is None or len(names) < sources.count:
        raise InputError(
            "caption.library",
            "standard input, videos and cameras are no library of files.",
            "Give files, directories or patterns.",
        )
    return names
