"""`edgecap eval`: score a captioner on a user's captions, or on scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._options import Threads, seed_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from edgecap.benchmarks.caption_eval import DataReport
    from edgecap.benchmarks.reference.evaluate import Report
    from edgecap.benchmarks.reference.similarity import RawCaption
    from edgecap.runtime import Captioner

RENAMED = {"--unruled": "--no-grammar"}
DETAILS = """
With --data, captions your images and prints CIDEr-D, BLEU-4 and ROUGE-L against your captions, as
COCO defines them. If the data and the captions have boxes, it also prints the share of your boxes
that were found (IoU 0.5), and found with the right name.

Without --data, captions and embeds drawn scenes in each language. The table has the mean over
languages with a 95 % bootstrap interval over scenes, the score without seeing the image (blind) and
with shuffled images, and a column per language. docs/benchmarks.md defines the metrics.

A line of a .jsonl file has the fields image and caption (or captions, a list), and optionally
regions (phrase and box). docs/own-model.md has examples.
"""
_SCENES = "Drawn scenes"


def run(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]",
            help="Bundle directory; or, on PyTorch, a Hugging Face checkpoint directory, the "
            "shipped model S or a .safetensors file of its kind.",
        ),
    ] = "S",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Your captions: COCO .json, .jsonl, or a Hugging Face imagefolder.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Directory of the images. Default: beside the captions."
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            min=1,
            metavar="N",
            help="Number of images. Default: all of --data, or 512 scenes.",
        ),
    ] = None,
    lang: Annotated[
        str | None,
        typer.Option(
            "--lang",
            "-l",
            help="Language of the captions; of scenes also several, comma-separated, or all. "
            "Default: en for --data, all for scenes.",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help="Named prompt, for models with prompts instead of languages."
        ),
    ] = None,
    json_: Json = None,
    threads: Threads = 1,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="test (the default), pairs, cooccurrence, quadrant, backgrounds, namesakes, "
            "counts or phrasing.",
            rich_help_panel=_SCENES,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        seed_option("Seed of the scenes. Default: 0, the shipped ones.", _SCENES),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="PART",
            help="Evaluate only captions or only embeddings.",
            rich_help_panel=_SCENES,
        ),
    ] = None,
    no_grammar: Annotated[
        bool,
        typer.Option("--no-grammar", help="Disable constrained decoding.", rich_help_panel=_SCENES),
    ] = False,
) -> None:
    from edgecap.core.errors import InputError

    if data is None:
        wrong = _given({"--images": images, "--prompt": prompt})
        if wrong:
            raise InputError(
                "eval.data", f"{wrong[0]} is about your own captions.", "Name them with --data."
            )
        _scenes(
            model,
            split or "test",
            512 if n is None else n,
            seed or 0,
            lang or "all",
            only,
            no_grammar,
            json_,
            threads,
        )
        return
    wrong = _given({"--split": split, "--seed": seed, "--only": only, "--no-grammar": no_grammar})
    if wrong:
        raise InputError(
            "eval.scenes", f"{wrong[0]} is about drawn scenes, not about {data}.", "Leave it out."
        )
    _data(model, data, images, n, lang, prompt, json_, threads)


def _given(options: dict[str, Any]) -> list[str]:
    return [flag for flag, value in options.items() if value not in (None, False)]


def _data(
    model: str,
    data: Path,
    images: Path | None,
    n: int | None,
    lang: str | None,
    prompt: str | None,
    json_: str | None,
    threads: int,
) -> None:
    from edgecap.apps.pairs.examples import read_examples
    from edgecap.benchmarks.caption_eval import evaluate
    from edgecap.cli._model import options_of
    from edgecap.models.loading import load

    examples = read_examples(data, images, lang or "en", n)
    captioner = load(model, threads=threads)
    options = options_of(captioner, lang if captioner.languages else None, None, prompt)
    manifest = getattr(captioner, "manifest", None)
    report = evaluate(
        captioner,
        examples,
        options,
        {
            "captioner": model if manifest is None else manifest.name,
            "backend": captioner.backend,
            "precision": "fp32" if manifest is None else manifest.precision,
            "data": str(data),
            "lang": lang or "en",
            "prompt": prompt,
        },
    )
    write_json(report.to_json(), json_)
    if json_ != STANDARD_OUTPUT:
        _print_data(report)


def _scenes(
    model: str,
    split: str,
    n: int,
    seed: int,
    lang: str,
    only: str | None,
    no_grammar: bool,
    json_: str | None,
    threads: int,
) -> None:
    from edgecap.benchmarks.reference.evaluate import PARTS, Subject, evaluate
    from edgecap.benchmarks.reference.sets import evaluation_scenes
    from edgecap.cli._model import load_captioner
    from edgecap.core.choices import pick
    from edgecap.core.errors import InputError, UnsupportedError
    from edgecap.reference.scenes.grammar import picked_languages
    from edgecap.reference.scenes.splits import split as split_named

    if n < 2:
        raise InputError("eval.n", f"--n is {n}; scenes need at least 2.")
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
    try:
        loaded = load_captioner(model, threads)
    except UnsupportedError as error:
        if error.code != "model.prompts":
            raise
        raise UnsupportedError(
            error.code,
            f"drawn scenes are described by languages with boxes, and {model} has prompts.",
            f"Score it on your captions: edgecap eval {model} --data captions.jsonl",
        ) from None
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
FEW = 100  # images, below which the weights of CIDEr-D's words are chance


class _Unconstrained:
    """A captioner without constrained decoding: what the model alone would write."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self.embed_images = captioner.embed_images
        self.embed_texts = captioner.embed_texts

    def caption(self, images: Sequence[Any], lang: str) -> Sequence[RawCaption]:
        return self._captioner.caption(images, lang=lang, constrained=False)


def _table(title: str | None) -> Table:
    """Narrow enough for eighty columns with eight languages."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("", no_wrap=True)
    return table


def _print_data(report: DataReport) -> None:
    from rich.console import Console
    from rich.text import Text

    about, scores = report.about, report.scores
    table = _table(None)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("  ")
    cider = scores.cider_d
    rows = [
        ("CIDEr-D", None if cider is None else 100 * cider, "× 100, as in papers; 0 to 1000"),
        ("BLEU-4", 100 * scores.bleu_4, "%"),
        ("ROUGE-L", 100 * scores.rouge_l, "%"),
    ]
    if report.regions and report.box_recall is not None and report.grounding_recall is not None:
        rows += [
            ("boxes found", 100 * report.box_recall, f"% of {report.regions}, IoU 0.5"),
            ("found and named", 100 * report.grounding_recall, "%"),
        ]
    for name, value, unit in rows:
        table.add_row(name, "–" if value is None else f"{value:.1f}", f"  {unit}")
    console = Console(markup=False)
    title = Text(
        f"{about['captioner']} ({about['backend']}, {about['precision']}): "
        f"{report.images} images, {report.references} captions of {about['data']}"
    )
    console.print(title, soft_wrap=True)
    console.print(table)
    notes = [f"{report.words:.1f} words per caption"]
    if report.cut:
        notes.append(f"{report.cut} of {report.images} captions cut at the length limit")
    if cider is None:
        notes.append("CIDEr-D needs at least two images")
    elif report.images < FEW:
        notes.append(f"with fewer than {FEW} images CIDEr-D depends on which they are")
    if report.regions and report.box_recall is None:
        notes.append(f"this model wrote none of the data's {report.regions} box(es)")
    console.print(Text("; ".join(notes)), highlight=False)


def _print(report: Report) -> None:
    from rich.console import Console

    from edgecap.benchmarks.reference.evaluate import MEASURED

    about = report.about
    table = _table(
        f"{about['captioner']} ({about['backend']}, {about['precision']}), "
        f"{report.n} scenes of {about['split']}, %"
    )
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
