"""`edgecap qat`: fine-tune weights under rounding, so that int8 loses less."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecap.cli._options import (
    ADVANCED,
    ModelOption,
    count_option,
    one_model,
    output_option,
    seed_option,
    threads_option,
)
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

RENAMED = {"--images": "--n"}
DETAILS = """
Learns weights and quantisation parameters that keep the captions when quantised, with the float
model as the teacher. Writes both, and a log (log.jsonl).

The reference model learns from drawn scenes. A Hugging Face checkpoint of any captioning family
learns from your images (--data); no captions are needed. Every fifth image, up to 64, is held out
to measure the agreement before and after.

Then:
  edgecap export OUTPUT/MODEL-qat.safetensors --int8 --plan OUTPUT/plan.json
  edgecap export OUTPUT --int8 --plan OUTPUT/plan.json    (of a checkpoint)
"""


def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="The shipped model S, a .safetensors file of its kind, or a Hugging Face "
            "checkpoint: its directory, or the id of one in the local cache. Default: S.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="For a checkpoint: directory of images, or captions as for eval --data, of which "
            "only the images are used.",
        ),
    ] = None,
    output: Annotated[Path, output_option("Directory of the run.")] = Path("qat"),
    n: Annotated[
        int | None, count_option("Number of training images, with repetition. Default: 6000.", 16)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            metavar="NUMBER",
            help="Instead of --n: train for this time, setup included.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Quantisation plan (plan.json) to start from. Default: calibrate one.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in OUTPUT.")
    ] = False,
    json_: Json = None,
    model_option: ModelOption = None,
    observer: Annotated[
        str | None,
        typer.Option(
            "--observer",
            help="Calibration observer: mse, minmax or percentile. Default: mse.",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    seed: Annotated[
        int | None, seed_option("Seed of scenes, or of the order of images. Default: 0.", ADVANCED)
    ] = None,
    threads: Annotated[int | None, threads_option("CPU threads of PyTorch.")] = None,
    compile_: Annotated[
        bool,
        typer.Option("--compile/--no-compile", help="Compile the model.", rich_help_panel=ADVANCED),
    ] = False,
) -> None:
    from edgecap.core.errors import InputError, UnsupportedError
    from edgecap.core.lazy import require
    from edgecap.quant.samples import CalibrationSpec

    weights = one_model(model, model_option)
    chosen: dict[str, Any] = {"images": n, "minutes": minutes, "plan": plan, "seed": seed}
    chosen["observer"] = observer
    given = {key: value for key, value in chosen.items() if value is not None}
    if resume and given:
        raise InputError(
            "qat.start",
            f"--resume continues the run with its own options, so --{_option(next(iter(given)))} "
            "cannot be given.",
            "Leave one of them out.",
        )
    if "images" in given and "minutes" in given:
        raise InputError("qat.length", "--n and --minutes both limit the run.", "Give one.")
    if minutes is not None and not 0 < minutes < math.inf:  # nan too
        raise InputError("qat.minutes", f"--minutes is {minutes:g}; a number above 0 is needed.")
    if plan is not None and observer is not None:
        raise InputError(
            "plan.conflict",
            f"{plan} is a finished plan, and --observer is for calibration.",
            "Give one of them.",
        )
    from edgecap.exporters.sources import is_checkpoint

    if is_checkpoint(weights):
        if resume or compile_:
            raise UnsupportedError(
                "qat.checkpoint",
                f"{'--resume' if resume else '--compile'}: of the reference model, and {weights} "
                "is a Hugging Face checkpoint.",
                "Leave it out.",
            )
        _tune_checkpoint(weights, data, output, given, threads, json_)
        return
    if data is not None:
        raise UnsupportedError(
            "qat.data",
            f"--data is for Hugging Face checkpoints, and {weights} learns from drawn scenes.",
            "Leave it out.",
        )
    given.pop("observer", None)
    if observer is not None:
        given["calibration"] = calibration = CalibrationSpec(observer=observer)
        calibration.check()
    torch = require("torch", "train")
    require("matplotlib", "train")  # for the log's image, after minutes or hours of work
    from edgecap.reference.train.log import LOG
    from edgecap.reference.train.plots import plot_log
    from edgecap.reference.train.qat import QatSpec, tune

    if threads:
        torch.set_num_threads(threads)
    spec = QatSpec(out=output, model=weights, compile_=compile_, **given)
    tuned = tune(spec, resume, _note)
    log = output / "log.png"
    drawn = plot_log(output / LOG, log)
    line = f"weights: {tuned.weights}   plan: {tuned.plan}" + (f"   log: {log}" if drawn else "")
    _report(tuned, line, json_)


def _tune_checkpoint(
    model: str,
    data: Path | None,
    output: Path,
    given: dict[str, Any],
    threads: int | None,
    json_: str | None,
) -> None:
    from edgecap.core.choices import pick
    from edgecap.core.errors import InputError
    from edgecap.core.lazy import require
    from edgecap.exporters.checkpoint_qat import CheckpointQat, tune
    from edgecap.quant.samples import OBSERVER_NAMES

    if data is None:
        raise InputError(
            "qat.data",
            f"{model} is a Hugging Face checkpoint, which learns from your images.",
            f"Name them: edgecap qat {model} --data DIR",
        )
    if "observer" in given:
        pick("observer", given["observer"], OBSERVER_NAMES)
    torch = require("torch", "train")
    if threads:
        torch.set_num_threads(threads)
    tuned = tune(CheckpointQat(model, data, output, **given), _note)
    _report(tuned, f"checkpoint: {tuned.checkpoint}   plan: {tuned.plan}", json_)


def _report(tuned: Any, line: str, json_: str | None) -> None:
    """Agreements and files, of either kind of run."""
    if json_ != STANDARD_OUTPUT:
        typer.echo(
            f"next token as in float: {tuned.before.top1:.2%} -> {tuned.after.top1:.2%} "
            f"(unrounded {tuned.unrounded.top1:.2%})   {line}"
        )
    figures = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(tuned).items()}
    write_json(figures, json_)


def _note(text: str) -> None:
    typer.echo(f"  {text}", err=True)


def _option(name: str) -> str:
    return "n" if name == "images" else name
