"""`edgecap finetune`: teach a captioner a language, or one's own images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecap.cli._options import (
    ADVANCED,
    WEIGHTS,
    ModelOption,
    OnError,
    Overwrite,
    one_model,
    output_option,
    seed_option,
    threads_option,
)
from edgecap.cli._output import STANDARD_OUTPUT, Json, refuse_inside, write_json
from edgecap.core.errors import EdgecapError
from edgecap.core.printable import printable

if TYPE_CHECKING:
    from edgecap.reference.train.finetune_job import FinetuneReport

REPORT = "report.json"
DETAILS = """
Adds a language with a few hundred captions, or tunes a known one on your own images. Writes
OUTPUT/MODEL-LANG.safetensors, a report and its plot.

The known languages are rehearsed, and measured before and after. If they lose more than --max-drop
points of exact captions, the exit code is 1; the weights are kept.

Then:
  edgecap export OUTPUT/MODEL-LANG.safetensors
"""


def run(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=f"{WEIGHTS} Default: S.")
    ] = None,
    *,
    lang: Annotated[str, typer.Option("--lang", "-l", help="Code of the language, such as nl.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Captions: COCO .json, .jsonl, a Hugging Face imagefolder, or drawn scenes.",
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Directory of the images. Default: beside the captions."
        ),
    ] = None,
    output: Annotated[
        Path | None, output_option("Directory to write. Default: MODEL-LANG.")
    ] = None,
    overwrite: Overwrite = False,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Number of training steps.")
    ] = None,
    lora: Annotated[
        int,
        typer.Option("--lora", metavar="RANK", help="Rank of LoRA updates; 0 trains all weights."),
    ] = 0,
    on_error: OnError = "skip",
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            help="Percentage points of exact captions that the known languages may lose.",
        ),
    ] = 1.0,
    json_: Json = None,
    model_option: ModelOption = None,
    rehearse: Annotated[
        str,
        typer.Option(
            "--rehearse",
            help="Rehearsal against forgetting: auto, scenes or own captions.",
            rich_help_panel=ADVANCED,
        ),
    ] = "auto",
    check: Annotated[
        int,
        typer.Option(
            "--check",
            min=0,
            max=128,
            metavar="N",
            help="Number of scenes to measure forgetting on; 0 leaves it out.",
            rich_help_panel=ADVANCED,
        ),
    ] = 128,
    seed: Annotated[int, seed_option("Seed of the training.", ADVANCED)] = 0,
    threads: Annotated[int | None, threads_option("CPU threads of PyTorch.")] = None,
) -> None:
    from edgecap.core.atomic import atomic_dir
    from edgecap.core.choices import pick
    from edgecap.core.errors import GateError, InputError
    from edgecap.core.lazy import require
    from edgecap.reference.extension import check_code

    torch = require("torch", "train")
    require("matplotlib", "train")  # for the report's image, after the work
    from edgecap.exporters.card import FINETUNED
    from edgecap.reference.model import weights
    from edgecap.reference.train import finetune_job
    from edgecap.reference.train.finetune import FinetuneConfig
    from edgecap.reference.train.plots import plot_finetuning
    from edgecap.reference.train.rehearsal import KINDS

    check_code(lang)
    pick("rehearsal", rehearse, KINDS)
    pick("on_error", on_error, ("fail", "skip"))
    if not 0 <= max_drop <= 100:  # nan too
        raise InputError(
            "max_drop.range", f"a loss is measured in points, 0 to 100, got {max_drop:g}."
        )
    if threads:
        torch.set_num_threads(threads)
    name, path = weights.resolve(one_model(model, model_option))
    given: dict[str, Any] = {} if steps is None else {"steps": steps}
    config = FinetuneConfig(lora=lora, seed=seed, **given)
    spec = finetune_job.FinetuneSpec(lang, data, images, rehearse, on_error, check, config)
    final = output or Path(f"{name}-{lang}")
    refuse_inside(json_, final)
    with atomic_dir(final, overwrite, marker=REPORT) as folder:
        network, extension = weights.load(path), weights.extension(path)
        if torch.cuda.is_available():
            network = network.to("cuda")
        training_data = finetune_job.read_data(spec, network, extension)
        for error in training_data.skipped:
            typer.echo(f"edgecap: {printable(str(error))}", err=True)
        learned, report = finetune_job.finetune(network, extension, training_data, spec, _note)
        file = f"{name}-{lang}{weights.SUFFIX}"
        facts = weights.facts(path) | {FINETUNED + lang: _facts(report, spec)}
        weights.save(learned, folder / file, facts, training_data.extension)
        write_json(report.to_json(), str(folder / REPORT))
    # What was learned is safe before anything is drawn.
    plot_finetuning(report, final / "report.png")
    write_json({"weights": str(final / file), **report.to_json()}, json_)
    if json_ != STANDARD_OUTPUT:
        _print(report, final, file)
    lost = report.forgetting
    if lost is not None and lost.drop > max_drop:
        raise GateError(
            "finetune.forgotten",
            f"the known languages lost {lost.drop:.1f} points of exact captions, {max_drop:g} "
            f"allowed; the weights are in {final} all the same.",
            f"Give more captions, or about {FinetuneConfig().steps} --steps"
            + ("." if lora else ", or try --lora 16."),
        )
    if training_data.skipped:
        raise typer.Exit(EdgecapError.exit_code)


def _facts(report: FinetuneReport, spec: Any) -> str:
    """A line for the model card."""
    how = f"LoRA of rank {spec.config.lora}" if spec.config.lora else "all weights"
    return (
        f"{report.captions} captions of {report.images} images, {spec.config.steps} steps, "
        f"{how}, rehearsal {report.rehearsal}"
    )


def _note(text: str) -> None:
    typer.echo(f"  {text}", err=True)


def _print(report: FinetuneReport, out: Path, file: str) -> None:
    what = "tuned" if report.known else "learned"
    typer.echo(f"{report.lang} {what} from {report.captions} captions: {out / file}")
    if report.cut:
        typer.echo(f"  {report.cut} of them are longer than the model can write and were cut")
    if report.new_tokens:
        typer.echo(f"  new words: {report.new_tokens} tokens behind the vocabulary")
    if report.loss:
        typer.echo("  held-out images: {:.2f} -> {:.2f} nats a token".format(*report.loss))
    if report.exact:
        typer.echo("  {}: exact {:.1%} -> {:.1%}".format(report.lang, *report.exact))
    if report.forgetting is None:
        typer.echo("  known languages were not measured")
        return
    forgetting = report.forgetting.to_json()
    rows = "  ".join(
        f"{lang} {100 * row['before']:.0f}->{100 * row['after']:.0f}"
        for lang, row in forgetting["languages"].items()
    )
    low, high = forgetting["drop_interval_95"]
    typer.echo(f"  known languages, exact %: {rows}")
    typer.echo(
        f"  they lost {forgetting['drop_points']:.1f} points ({low:.1f} to {high:.1f}) "
        f"on {forgetting['scenes']} scenes; plot: {out / 'report.png'}"
    )
