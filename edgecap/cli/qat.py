"""`edgecap qat`: fine-tune weights under rounding, so that int8 loses less."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecap.cli._options import (
    ADVANCED,
    WEIGHTS,
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
Learns weights and quantisation parameters that keep the captions when quantised. Writes both, a
log (log.jsonl) and its plot (log.png).

Then:
  edgecap export OUTPUT/MODEL-qat.safetensors --int8 --plan OUTPUT/plan.json
"""


def run(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=f"{WEIGHTS} Default: S.")
    ] = None,
    output: Annotated[Path, output_option("Directory of the run.")] = Path("qat"),
    n: Annotated[int | None, count_option("Number of training scenes. Default: 6000.", 16)] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", metavar="NUMBER", help="As many scenes as fit in this time, all included."
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Quantisation plan (plan.json) to begin with. Default: calibrate one.",
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
    seed: Annotated[int | None, seed_option("Seed of the scenes. Default: 0.", ADVANCED)] = None,
    threads: Annotated[int | None, threads_option("CPU threads of PyTorch.")] = None,
    compile_: Annotated[
        bool,
        typer.Option("--compile/--no-compile", help="Compile the model.", rich_help_panel=ADVANCED),
    ] = False,
) -> None:
    from edgecap.core.errors import InputError
    from edgecap.core.lazy import require
    from edgecap.quant.samples import CalibrationSpec

    weights = one_model(model, model_option)
    chosen: dict[str, Any] = {"images": n, "minutes": minutes, "plan": plan, "seed": seed}
    chosen["observer"] = observer
    given = {key: value for key, value in chosen.items() if value is not None}
    if resume and given:
        raise InputError(
            "qat.start",
            f"--resume continues as the run began, and --{_option(next(iter(given)))} would "
            "change it.",
            "Give one.",
        )
    if "images" in given and "minutes" in given:
        raise InputError("qat.length", "--n and --minutes both limit the run.", "Give one.")
    if minutes is not None and not 0 < minutes < math.inf:  # nan too
        raise InputError("qat.minutes", f"--minutes is {minutes:g}; a number above 0 is needed.")
    given.pop("observer", None)
    if observer is not None:
        if plan is not None:
            raise InputError(
                "plan.conflict",
                f"{plan} is a finished plan, and --observer is for calibration.",
                "Give one of them.",
            )
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
    tuned = tune(spec, resume, lambda text: typer.echo(f"  {text}", err=True))
    log = output / "log.png"
    drawn = plot_log(output / LOG, log)
    if json_ != STANDARD_OUTPUT:
        typer.echo(
            f"next token as in float: {tuned.before.top1:.2%} -> {tuned.after.top1:.2%} "
            f"(unrounded {tuned.unrounded.top1:.2%})   weights: {tuned.weights}   "
            f"plan: {tuned.plan}" + (f"   log: {log}" if drawn else "")
        )
    figures = asdict(tuned) | {"weights": str(tuned.weights), "plan": str(tuned.plan)}
    write_json(figures, json_)


def _option(name: str) -> str:
    return "n" if name == "images" else name
