"""`edgecap classify`: which of some labels fits an image best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._inputs import all_images, report_failure
from edgecap.cli._options import Bundle, Images, OnError, Threads
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json
from edgecap.core.errors import EdgecapError, InputError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.apps.retrieval.classify import LabelScore

SHOWN = 5  # labels per image in the table
DETAILS = """
Labels are compared with the whole image and with each object that the caption names in it, by the
cosine of their embeddings. Write labels as a caption would ("a dog", "three white stars"), in any
of the model's languages. Cosines rank labels; they are not probabilities.

An image that cannot be read is reported and the others are ranked; the exit code is then 2.
"""


def run(
    images: Images,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help='Labels, comma-separated: "a dog,a red circle".'),
    ] = None,
    labels_file: Annotated[
        Path | None,
        typer.Option("--labels-file", metavar="FILE", help="UTF-8 text with one label per line."),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Compare with the whole image only (faster)."),
    ] = False,
    bundle: Bundle = None,
    json_: Json = None,
    on_error: OnError = "skip",
    threads: Threads = 1,
) -> None:
    from edgecap.apps.retrieval.classify import ZeroShotClassifier
    from edgecap.cli._model import chosen, load_embedder, only_whole
    from edgecap.core.choices import pick
    from edgecap.core.progress import progress

    pick("on_error", on_error, ("fail", "skip"))
    given, files = _labels(labels, labels_file), all_images(images)
    captioner = load_embedder(chosen(bundle), threads)
    classifier = ZeroShotClassifier(captioner, given, only_whole(captioner, whole))
    rows: list[dict[str, Any]] = []
    ranked: list[tuple[str, list[LabelScore]]] = []
    failures = 0
    scored = classifier.rank_many([image.source for image in files])
    found = progress(scored, "ranking labels", len(files))
    try:
        for image, choices in zip(files, found, strict=True):
            if isinstance(choices, InputError):
                if len(files) == 1 or on_error == "fail":
                    raise choices
                failures += 1
                rows.append(report_failure(image, choices))
                continue
            ranked.append((image.name, choices))
            rows.append({"image": image.name, "labels": [asdict(choice) for choice in choices]})
    finally:  # whatever ends the run, what is done is reported
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


def _show(ranked: Sequence[tuple[str, list[LabelScore]]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from edgecap.cli._boxes import where

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("image", "label", "cosine", "found at"):
        table.add_column(heading, justify="right" if heading == "cosine" else "left")
    for image, choices in ranked:
        for place, choice in enumerate(choices[:SHOWN]):
            name = printable(image) if place == 0 else ""
            table.add_row(name, printable(choice.label), f"{choice.score:.3f}", where(choice.boxes))
    Console(markup=False).print(table)
