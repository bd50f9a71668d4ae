"""`edgecap scenes`: write drawn scenes with their true boxes and captions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._numbers import seed_option


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of scenes.")] = 100,
    seed: Annotated[int | None, seed_option("Default: the split's own.")] = None,
    split: Annotated[str, typer.Option("--split", help="Which rules the scenes follow.")] = "train",
    lang: Annotated[
        str, typer.Option("--lang", help="Of the captions: several as en,nl, or all eight.")
    ] = "all",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Write PNG images, annotations.json (COCO format) and captions.jsonl.

    Captions come in the eight languages of the model, or in those of --lang, which may also be nl
    and ko: languages that it has not learned (see edgecap finetune).
    """
    from edgecap.reference.scenes.dataset import write_dataset
    from edgecap.reference.scenes.grammar import picked_languages

    languages = picked_languages(lang)
    write_dataset(out, n=n, seed=seed, split=split, overwrite=overwrite, languages=languages)
    typer.echo(f"{n} scenes of split {split!r} are in {out}")
