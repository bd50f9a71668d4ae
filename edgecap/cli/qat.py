"""`edgecap qat`: fine-tune weights under rounding, so that int8 loses less."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecap.cli._numbers import seed_option, threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the run.")] = Path("qat"),
    model: Annotated[
        str, typer.Option("--model", "-m", help="A shipped model (S or M), or a .safetensors file.")
    ] = "S",
    images: Annotated[
        int | None, typer.Option("--images", min=16, help="Scenes to learn from; default 6000.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="As many scenes as fit, all included.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Begin with this plan.json; default: calibrate.")
    ] = None,
    observer: Annotated[
        str | None,
        typer.Option("--observer", help="Ranges to begin with: mse (default), minmax, percentile."),
    ] = None,
    seed: Annotated[int | None, seed_option("Of the scenes; default 0.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT's checkpoint.")] = False,
    threads: Annotated[int | None, threads_option()] = None,
    compile_: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Fuse kernels first.")
    ] = False,
    json_: Json = None,
) -> None:
    """Learn weights and grids that keep the words when rounded; writes both, and log.png.

    Then: edgecap export --precision w8a8 --model OUT/NAME-qat.safetensors --plan OUT/plan.json
    """
    from edgecap.core.errors import InputError
    from edgecap.core.lazy import require
    from edgecap.quant.samples import CalibrationSpec

    chosen: dict[str, Any] = {"images": images, "minutes": minutes, "plan": plan, "seed": seed}
    chosen["observer"] = observer
    given = {key: value for key, value in chosen.items() if value is not None}
    if resume and given:
        raise InputError(
            "qat.start",
            f"--resume goes on as the run began, and --{next(iter(given))} says otherwise.",
            "Give one.",
        )
    if "images" in given and "minutes" in given:
        raise InputError("qat.length", "--images and --minutes both say how long.", "Give one.")
    if minutes is not None and not 0 < minutes < math.inf:  # nan too
        raise InputError("qat.minutes", f"--minutes is {minutes:g}; a number above 0 is needed.")
    given.pop("observer", None)
    if observer is not None:
        if plan is not None:
            raise InputError(
                "plan.conflict",
                f"{plan} is a finished plan, and --observer is of calibration.",
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
    spec = QatSpec(out=out, model=model, compile_=compile_, **given)
    tuned = tune(spec, resume, lambda text: print(f"  {text}", file=sys.stderr))
    log = out / "log.png"
    drawn = plot_log(out / LOG, log)
    if json_ != STANDARD_OUTPUT:
        typer.echo(
            f"next token as in float: {tuned.before.top1:.2%} -> {tuned.after.top1:.2%} "
            f"(unrounded {tuned.unrounded.top1:.2%})   weights: {tuned.weights}   "
            f"plan: {tuned.plan}" + (f"   log: {log}" if drawn else "")
        )
    figures = asdict(tuned) | {"weights": str(tuned.weights), "plan": str(tuned.plan)}
    write_json(figures, json_)
