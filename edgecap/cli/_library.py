"""`edgecap caption` for many images: rows that are kept as they come, by one process or by Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from edgecap.cli._inputs import with_name
from edgecap.core.choices import pick
from edgecap.core.errors import EdgecapError, InputError
from edgecap.core.printable import printable

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class LibraryRun:
    """How to caption many images, and where their rows go."""

    source: str  # what runs, as of `load`
    engine: str  # one of ENGINES
    workers: int  # on Ray
    threads: int
    jsonl: str | None  # one of these two
    parquet: Path | None
    resume: bool  # keep the rows that are there
    on_error: str  # "fail" or "skip"
    min_confidence: Any  # as of `load`
    options: dict[str, Any]  # as of `Captioner.caption_many`

    def check(self) -> None:
        """InputError for an unknown word, and without exactly one place for the rows."""
        pick("engine", self.engine, ENGINES)
        pick("on_error", self.on_error, ("fail", "skip"))
        if (self.jsonl is None) != (self.parquet is None) and self.jsonl != "-":
            return
        raise InputError(
            "caption.library",
            "a run on Ray, or one that can be resumed, needs one place for its rows.",
            "Give one of --jsonl FILE and --parquet DIR.",
        )


def caption_library(given: Sequence[str], run: LibraryRun) -> None:
    """Caption the images that have no row yet; exit code 2 if one cannot be read."""
    from edgecap.apps.row_store import open_store
    from edgecap.core.progress import progress

    run.check()
    names = _files(given)
    jsonl = None if run.jsonl is None else Path(run.jsonl)
    done, writer = open_store(jsonl, run.parquet, run.resume)
    left = [name for name in names if name not in done]
    rows = _on_ray(left, run) if run.engine == "ray" else _local(left, run)
    failures = 0
    with writer as write:
        for row in progress(rows, "captions", len(left)):
            write(row)
            if "error" in row:
                failures += 1
                error = InputError(row["error"]["code"], row["error"]["text"])
                if run.on_error == "fail":
                    raise error
                typer.echo(f"edgecap: {printable(with_name(row['image'], error))}", err=True)
    typer.echo(
        f"{run.jsonl or run.parquet}: {len(left) - failures} captioned, {failures} unreadable, "
        f"{len(names) - len(left)} done before"
    )
    if failures:
        raise typer.Exit(EdgecapError.exit_code)


def _on_ray(names: Sequence[str], run: LibraryRun) -> Iterator[dict[str, Any]]:
    from edgecap.apps import ray_engine

    return ray_engine.captions(
        names,
        run.source,
        workers=run.workers,
        threads=run.threads,
        min_confidence=run.min_confidence,
        **run.options,
    )


def _local(names: Sequence[str], run: LibraryRun) -> Iterator[dict[str, Any]]:
    """As `ray_engine.captions`, in this process."""
    from edgecap.models.loading import load
    from edgecap.runtime import Caption

    captioner = load(run.source, threads=run.threads, min_confidence=run.min_confidence)
    found = captioner.caption_many([Path(name) for name in names], **run.options, on_error="skip")

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
            "--engine ray, --parquet and --resume take image files and directories only.",
            "Give files, directories or patterns.",
        )
    return names
