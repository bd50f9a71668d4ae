"""`edgecap eval`: score a captioner on scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._numbers import seed_option, threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from edgecap.benchmarks.reference.evaluate import Report
    from edgecap.benchmarks.reference.similarity import RawCaption
    from edgecap.runtime import Captioner


def run(
    captioner: Annotated[
        str, typer.Argument(metavar="[WEIGHTS|BUNDLE]", help="A bundle, or weights for PyTorch.")
    ] = "S",
    split: Annotated[str, typer.Option("--split", help="Which scenes.")] = "test",
    n: Annotated[int, typer.Option("--n", min=2, help="How many.")] = 512,
    seed: Annotated[int, seed_option("Other scenes of the split.")] = 0,
    lang: Annotated[str, typer.Option("--lang", help="A language, several as en,ja, or all.")] = (
        "all"
    ),
    json_: Json = None,
    threads: Annotated[int, threads_option("Of the engine.")] = 1,
    no_grammar: Annotated[
        bool, typer.Option("--no-grammar", help="Disable constrained decoding.")
    ] = False,
    only: Annotated[
        str | None, typer.Option("--only", help="captions or embeddings; the other takes no time.")
    ] = None,
) -> None:
    """Caption and embed drawn scenes in each language and compare with the truth.

    Figures are means over languages with 95 % bootstrap intervals over scenes, beside what they are
    worth blind and with shuffled images; a column per language follows. What each key means is
    said in edgecap/benchmarks/metrics.py, similarity.py and evaluate.py.
    """
    from edgecap.benchmarks.reference.evaluate import PARTS, Subject, evaluate
    from edgecap.benchmarks.reference.sets import evaluation_scenes
    from edgecap.core.choices import pick
    from edgecap.core.errors import InputError
    from edgecap.models.loading import load
    from edgecap.reference.scenes.grammar import picked_languages
    from edgecap.reference.scenes.splits import split as split_named

    if only is not None:
        pick("part", only, PARTS)
    languages = picked_languages(lang)
    held_out_phrasing = split_named(split).held_out_phrasing
    if held_out_phrasing and only == "captions":
        raise InputError(
            "eval.phrasing",
            f"the split {split} words the texts that are embedded; captions are not its matter.",
            "Leave --only out, or run with: --only embeddings",
        )
    loaded = load(captioner, threads=threads)
    for language in languages:
        pick("language", language, loaded.languages)
    subject: Subject = _Unruled(loaded) if no_grammar else loaded
    report = evaluate(
        subject,
        evaluation_scenes(split, n, seed),
        languages,
        held_out_phrasing=held_out_phrasing,
        about={
            "captioner": loaded.manifest.name,
            "backend": loaded.backend,
            "precision": loaded.manifest.precision,
            "split": split,
            "seed": seed,
            "constrained": not no_grammar,
        },
        only=only,
    )
    write_json(report.to_json(), json_)
    if json_ != STANDARD_OUTPUT:
        _print(report)


_FLOORS = ("blind", "shuffled")


class _Unruled:
    """A captioner whose boxes nothing keeps in form: what the model alone would write."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self.embed_images = captioner.embed_images
        self.embed_texts = captioner.embed_texts

    def caption(self, images: Sequence[Any], lang: str) -> Sequence[RawCaption]:
        return self._captioner.caption(images, lang=lang, rule=False)


def _print(report: Report) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from edgecap.benchmarks.reference.evaluate import MEASURED

    about = report.about
    # Narrow enough for eighty columns with eight languages.
    table = Table(
        title=f"{about['captioner']} ({about['backend']}, {about['precision']}), "
        f"{report.n} scenes of {about['split']}, %",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("", no_wrap=True)
    for heading in ("mean", "95 %", *_FLOORS, *report.languages):
        table.add_column(heading, justify="right", no_wrap=True)
    for key in MEASURED:
        bounds, value = report.intervals.get(key), report.values[key]
        if value is None:
            continue
        shown = "–".join(f"{100 * bound:.0f}" for bound in bounds) if bounds else ""
        floors = [f"{floor}_{key}" for floor in _FLOORS]
        beside = [_whole(report.values[f]) if f in report.values else "" for f in floors]
        row = [_whole(row[key]) for row in report.languages.values()]
        table.add_row(key, _figure(value), shown, *beside, *row)
    console = Console(markup=False)
    console.print(table)
    if report.worst_language is not None:
        console.print(f"worst language: {report.worst_language}", highlight=False)


def _whole(value: float | int | None) -> str:
    """Floors and single languages, whose spread is of several points: no decimals."""
    return f"{100 * value:.0f}" if isinstance(value, float) else _figure(value)


def _figure(value: float | int | None) -> str:
    """Counts as they are, shares in percent."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return "100" if value == 1 else f"{100 * value:.1f}"
