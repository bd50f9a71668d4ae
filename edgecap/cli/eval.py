"""`edgecap eval`: score a captioner on scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._options import MODEL, Languages, Threads, count_option, seed_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from edgecap.benchmarks.reference.evaluate import Report
    from edgecap.benchmarks.reference.similarity import RawCaption
    from edgecap.runtime import Captioner

RENAMED = {"--unruled": "--no-grammar"}
DETAILS = """
Captions and embeds drawn scenes in each language. The table has the mean over languages with a
95 % bootstrap interval over scenes, beside the score without seeing the image (blind) and with the
images shuffled; then a column per language. The metrics are defined in the documentation
(benchmarks) and in the docstrings of edgecap.benchmarks.reference.metrics.
"""


def run(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help=MODEL)] = "S",
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="Split of the scenes: test, pairs, cooccurrence, quadrant, backgrounds, "
            "namesakes, counts or phrasing.",
        ),
    ] = "test",
    n: Annotated[int, count_option("Number of scenes.", 2)] = 512,
    seed: Annotated[int, seed_option("Seed of the scenes; 0 gives the shipped ones.")] = 0,
    lang: Languages = "all",
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="PART", help="Evaluate only captions or only embeddings."),
    ] = None,
    no_grammar: Annotated[
        bool, typer.Option("--no-grammar", help="Disable constrained decoding.")
    ] = False,
    json_: Json = None,
    threads: Threads = 1,
) -> None:
    from edgecap.benchmarks.reference.evaluate import PARTS, Subject, evaluate
    from edgecap.benchmarks.reference.sets import evaluation_scenes
    from edgecap.cli._model import load_captioner
    from edgecap.core.choices import pick
    from edgecap.core.errors import InputError
    from edgecap.reference.scenes.grammar import picked_languages
    from edgecap.reference.scenes.splits import split as split_named

    if only is not None:
        pick("part", only, PARTS)
    languages = picked_languages(lang)
    held_out_phrasing = split_named(split).held_out_phrasing
    if held_out_phrasing and only == "captions":
        raise InputError(
            "eval.phrasing",
            f"the split {split} varies the texts that are embedded; it measures no captions.",
            "Leave --only out, or run with: --only embeddings",
        )
    loaded = load_captioner(model, threads)
    for language in languages:
        pick("language", language, loaded.languages)
    subject: Subject = _Unconstrained(loaded) if no_grammar else loaded
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


class _Unconstrained:
    """A captioner without constrained decoding: what the model alone would write."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self.embed_images = captioner.embed_images
        self.embed_texts = captioner.embed_texts

    def caption(self, images: Sequence[Any], lang: str) -> Sequence[RawCaption]:
        return self._captioner.caption(images, lang=lang, constrained=False)


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
