"""`edgecap train`: train a captioner on drawn scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgecap.cli._numbers import seed_option, threads_option


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the run.")] = Path("run"),
    size: Annotated[
        str | None, typer.Option("--size", help="Named size of the model: S (default) or M.")
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", min=64, help="Scenes in all; default: the recipe's.")
    ] = None,
    seed: Annotated[int | None, seed_option("Of weights and scenes; default 0.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from OUT's checkpoint, as the run began.")
    ] = False,
    init: Annotated[
        str | None, typer.Option("--init", help="Weights to begin with, of this size or a smaller.")
    ] = None,
    threads: Annotated[int | None, threads_option()] = None,
    compile_: Annotated[bool, typer.Option("--compile/--no-compile", help="Fuse kernels.")] = True,
) -> None:
    """Train, with checkpoints, a log (log.jsonl, log.png) and fp16 weights at the end.

    A run that was stopped goes on with --resume, on the same stream of scenes; size, recipe and
    seed are then its own, so --size, --images, --seed and --init are refused. On several GPUs:
    torchrun --nproc-per-node N -m edgecap train …
    """
    from edgecap.core.choices import pick
    from edgecap.core.errors import InputError
    from edgecap.core.lazy import require
    from edgecap.reference.config import SIZES

    chosen = {"size": size, "images": images, "seed": seed, "init": init}
    given = [f"--{name}" for name, value in chosen.items() if value is not None]
    if resume and given:
        raise InputError(
            "train.start",
            f"--resume goes on as the run began, and {given[0]} says otherwise.",
            "Give one.",
        )
    torch = require("torch", "train")
    require("matplotlib", "train")  # for the log's image, after hours of work
    from edgecap.reference.model import weights
    from edgecap.reference.train import processes
    from edgecap.reference.train.checkpoint import Checkpoint, check_place
    from edgecap.reference.train.config import TrainConfig
    from edgecap.reference.train.log import LOG
    from edgecap.reference.train.loop import train
    from edgecap.reference.train.plots import plot_log

    if not resume:
        check_place(out, begun=(LOG,))
    if threads:
        torch.set_num_threads(threads)
    config = Checkpoint.load(out).config if resume else TrainConfig()
    if size is not None:
        config = replace(config, size=pick("size", size, SIZES))
    if seed is not None:
        config = replace(config, seed=seed)
    if images is not None:
        config = config.scaled(images)
    start = None
    if init:
        file = weights.resolve(init)[1]
        start = weights.load(file)
        config = config.knowing(weights.extension(file))
    if config.untrained_languages:
        mute = ", ".join(config.untrained_languages)
        typer.echo(f"  no scene can be described in {mute}: it may be forgotten", err=True)

    def say(text: str) -> None:
        typer.echo(f"  {text}", err=True)

    model = train(config, out, resume=resume, init=start, compile_=compile_, say=say)
    if processes.rank():  # another process writes
        return
    path = out / f"captioner-{config.size}.safetensors"
    weights.save(model, path, {"run": config.to_dict()}, config.extension)
    log = out / "log.png"
    drawn = plot_log(out / LOG, log)
    typer.echo(f"weights: {path}" + (f"   log: {log}" if drawn else ""))
