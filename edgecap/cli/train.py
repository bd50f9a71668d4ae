"""`edgecap train`: train a captioner on drawn scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecap.cli._options import ADVANCED, count_option, output_option, seed_option, threads_option
from edgecap.cli._output import STANDARD_OUTPUT, Json, write_json

if TYPE_CHECKING:
    from edgecap.reference.train.config import TrainConfig

RENAMED = {"--images": "--n"}
DETAILS = """
Writes checkpoints, a log (log.jsonl), its plot (log.png) and, at the end, fp16 weights.

--resume continues a run that was stopped, on the same stream of scenes. Size, recipe and seed are
those of the run, so --size, --n, --seed and --init are refused.

On several GPUs:
  torchrun --nproc-per-node N -m edgecap train
"""


def run(
    output: Annotated[Path, output_option("Directory of the run.")] = Path("run"),
    size: Annotated[
        str | None,
        typer.Option("--size", help="Named size of the model: S or M. Default: S."),
    ] = None,
    n: Annotated[
        int | None, count_option("Number of training scenes. Default: the recipe's.", 64)
    ] = None,
    seed: Annotated[
        int | None, seed_option("Seed of the weights and the scenes. Default: 0.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in OUTPUT.")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            "--init", metavar="MODEL", help="Initial weights, of this size or a smaller one."
        ),
    ] = None,
    json_: Json = None,
    threads: Annotated[int | None, threads_option("CPU threads of PyTorch.")] = None,
    compile_: Annotated[
        bool,
        typer.Option("--compile/--no-compile", help="Compile the model.", rich_help_panel=ADVANCED),
    ] = True,
) -> None:
    from edgecap.core.errors import InputError
    from edgecap.core.lazy import require

    given = {"size": size, "n": n, "seed": seed, "init": init}
    refused = [f"--{name}" for name, value in given.items() if value is not None]
    if resume and refused:
        raise InputError(
            "train.start",
            f"--resume continues the run with its own options, so {refused[0]} cannot be given.",
            "Leave one of them out.",
        )
    torch = require("torch", "train")
    require("matplotlib", "train")  # for the log's image, after hours of work
    from edgecap.reference.model import weights
    from edgecap.reference.train import processes
    from edgecap.reference.train.checkpoint import Checkpoint, check_place
    from edgecap.reference.train.log import LOG
    from edgecap.reference.train.loop import train
    from edgecap.reference.train.plots import plot_log

    if not resume:
        check_place(output, begun=(LOG,))
    if threads:
        torch.set_num_threads(threads)
    config = Checkpoint.load(output).config if resume else _config(size, seed, n)
    start = None
    if init:
        file = weights.resolve(init)[1]
        start = weights.load(file)
        config = config.with_languages(weights.extension(file))
    if config.untrained_languages:
        untrained = ", ".join(config.untrained_languages)
        typer.echo(f"  no scene can be described in {untrained}: it may be forgotten", err=True)

    def say(text: str) -> None:
        typer.echo(f"  {text}", err=True)

    model = train(config, output, resume=resume, init=start, compile_=compile_, notify=say)
    if processes.rank():  # another process writes
        return
    path = output / f"captioner-{config.size}.safetensors"
    weights.save(model, path, {"run": config.to_dict()}, config.extension)
    log = output / "log.png"
    drawn = plot_log(output / LOG, log)
    write_json({"weights": str(path), "log": str(log) if drawn else None}, json_)
    if json_ != STANDARD_OUTPUT:
        typer.echo(f"weights: {path}" + (f"   log: {log}" if drawn else ""))


def _config(size: str | None, seed: int | None, n: int | None) -> TrainConfig:
    """The recipe, with what was given; InputError for an unknown size."""
    from edgecap.core.choices import pick
    from edgecap.reference.config import SIZES
    from edgecap.reference.train.config import TrainConfig

    config = TrainConfig()
    if size is not None:
        config = replace(config, size=pick("size", size, SIZES))
    if seed is not None:
        config = replace(config, seed=seed)
    return config if n is None else config.scaled(n)
