"""`edgecap scenes`: write drawn scenes with their true boxes and captions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._options import Overwrite, count_option, output_option, seed_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, refuse_inside, write_json

DETAILS = """
Writes PNG images, annotations.json (COCO format) and captions.jsonl. Captions come in the eight
languages of the model, or in those of --lang, which may also be nl and ko: languages that the
model has not learned (see edgecap finetune). Needs the Noto Color Emoji font: edgecap doctor
"""


def run(
    output: Annotated[Path, output_option("Directory to write.")],
    n: Annotated[int, count_option("Number of scenes.", 1)] = 100,
    seed: Annotated[
        int | None, seed_option("Seed of the scenes. Default: the split's own.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split that the scenes follow.")] = "train",
    lang: Annotated[
        str,
        typer.Option("--lang", "-l", help="Languages of the captions, comma-separated, or all."),
    ] = "all",
    overwrite: Overwrite = False,
    json_: Json = None,
) -> None:
    from edgecap.reference.scenes.dataset import write_dataset
    from edgecap.reference.scenes.grammar import picked_languages

    languages = picked_languages(lang)
    refuse_inside(json_, output)
    write_dataset(output, n=n, seed=seed, split=split, overwrite=overwrite, languages=languages)
    report = {"scenes": n, "split": split, "languages": list(languages), "path": str(output)}
    write_json(report, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(f"{n} scenes of split {split!r} are in {output}")
