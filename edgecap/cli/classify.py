"""`edgecap classify`: which of some labels fits an image best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._numbers import threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import EdgecapError, InputError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.apps.retrieval.classify import LabelScore

SHOWN = 5  # labels per image in the table


def run(
    images: Annotated[
        list[Path], typer.Argument(help="Images of any size and mode, or directories of them.")
    ],
    labels: Annotated[
        str | None, typer.Option("--labels", help='With commas: "a dog,a red circle".')
    ] = None,
    labels_file: Annotated[
        Path | None, typer.Option("--labels-file", help="UTF-8 text, one label a line.")
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Labels say all that is there: no caption looks for parts."),
    ] = False,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", "-b", help="Bundle, model name or weights. Default: the newest."),
    ] = None,
    json_: Json = None,
    on_error: Annotated[
        str, typer.Option("--on-error", help="At a bad image: skip it, or fail.")
    ] = "skip",
    threads: Annotated[int, threads_option()] = 1,
) -> None:
    """Rank labels by the cosine of their text and the image, or a thing in it; no training.

    Write labels as a caption would name them ("a dog", "three white stars"), in any of the model's
    languages. Cosines rank; they are no probabilities. An image that cannot be read is reported
    and the others are ranked; the exit code is then 2. With --on-error fail it ends the run, after
    what was ranked before it.
    """
    from edgecap.apps.retrieval.classify import ZeroShotClassifier
    from edgecap.cli._folders import all_images, told_failure
    from edgecap.cli._model import load_chosen
    from edgecap.core.choices import pick
    from edgecap.core.progress import progress

    pick("on_error", on_error, ("fail", "skip"))
    given, files = _labels(labels, labels_file), all_images(images)
    chooser = ZeroShotClassifier(load_chosen(bundle, threads), given, whole)
    rows: list[dict[str, Any]] = []
    ranked: list[tuple[Path, list[LabelScore]]] = []
    failures = 0
    found = progress(chooser.rank_many(files), "ranking labels", len(files))
    try:
        for image, choices in zip(files, found, strict=True):
            if isinstance(choices, InputError):
                if len(files) == 1 or on_error == "fail":
                    raise choices
                failures += 1
                rows.append(told_failure(image, choices))
                continue
            ranked.append((image, choices))
            rows.append({"image": str(image), "labels": [asdict(choice) for choice in choices]})
    finally:  # whatever ends the run, what is done is told
        if rows:
            write_json(rows, json_)
        if ranked and json_ != STANDARD_OUTPUT:
            _show(ranked)
    if failures:
        raise typer.Exit(EdgecapError.exit_code)


def _labels(text: str | None, file: Path | None) -> list[str]:
    if (text is None) == (file is None):
        raise InputError("labels.source", "give either --labels or --labels-file.")
    if text is not None:
        given = text.split(",")
    else:
        assert file is not None
        try:
            given = file.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise InputError("labels.file", f"{file} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise InputError("labels.file", f"{file} is not UTF-8 text.") from None
    return [label.strip() for label in given if label.strip()]


def _show(ranked: Sequence[tuple[Path, list[LabelScore]]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from edgecap.cli._boxes import where

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("image", "label", "cosine", "of"):
        table.add_column(heading, justify="right" if heading == "cosine" else "left")
    for image, choices in ranked:
        for place, choice in enumerate(choices[:SHOWN]):
            name = printable(str(image)) if place == 0 else ""
            table.add_row(name, choice.label, f"{choice.score:.3f}", where(choice.boxes))
    Console(markup=False).print(table)
