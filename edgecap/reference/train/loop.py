"""The training loop: draw scenes, train, log, checkpoint, resume."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from edgecap.core.atomic import make_directory
from edgecap.core.errors import InputError, is_out_of_memory
from edgecap.core.progress import progress
from edgecap.reference.config import SIZES
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.model.expand_width import expand_width
from edgecap.reference.train import processes
from edgecap.reference.train.average import RunningMean
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.checkpoint import Checkpoint
from edgecap.reference.train.config import TrainConfig
from edgecap.reference.train.data import SceneBatches
from edgecap.reference.train.log import LOG, Log, cut_log
from edgecap.reference.train.losses import Objective, Term, TrainingObjective
from edgecap.reference.train.memory import free_bytes, parts_that_fit
from edgecap.reference.train.optimisers import Optimisers

SAVE_EVERY_S = 240  # seconds between checkpoints
Losses = Callable[[Batch], tuple[Tensor, ...]]


def train(
    config: TrainConfig,
    run: Path,
    resume: bool = False,
    init: CaptionModel | None = None,
    compile_: bool = True,
    notify: Callable[[str], None] = lambda _: None,
) -> CaptionModel:
    """Train with `config` in the directory `run`, and return the captioner in float32.

    Starts from random weights, from `init`, which may be of a smaller size, or, with `resume`, from
    the run's checkpoint: weights, optimiser state and step continue on the same stream of scenes,
    while stages and rates are those of `config`. Under torchrun each process trains on its own
    scenes. `notify` is called once, after all checks.
    """
    saved = Checkpoint.load(run) if resume else None
    if saved is not None and saved.config.size not in SIZES:
        raise _another_kind(run)
    if saved is not None and saved.config.size != config.size:
        raise InputError(
            "train.resume",
            f"{run} holds a run of size {saved.config.size}, not {config.size}.",
            f"Run with: --size {saved.config.size}",
        )
    torch.manual_seed(config.seed)
    model = CaptionModel(config.shape) if init is None else expand_width(init, config.shape)
    objective = Objective(model)
    losses = ready(objective, compile_)
    notify(f"training in {run}; progress is logged in {run / LOG}")
    fit(objective, losses, config, run, saved)
    processes.leave()
    return model


def ready(objective: nn.Module, compile_: bool) -> Losses:
    """The objective on its device, wrapped for DDP where needed, and compiled.

    Raises InputError (train.compiler) where it is to be compiled and no compiler is found.
    """
    if compile_ and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise InputError(
            "train.compiler",
            "PyTorch compiles training with g++ or the compiler that CXX names; none was found.",
            "Install one, or run with: --no-compile",
        )
    module = processes.joined(objective.to(processes.device()))
    return torch.compile(module, dynamic=False) if compile_ else module


def fit(
    objective: TrainingObjective,
    losses: Losses,
    config: TrainConfig,
    run: Path,
    saved: Checkpoint | None,
) -> None:
    """Train the parameters of `objective`; the result is their running mean if the run keeps one.

    Continues from `saved`. Raises InputError where the checkpoint is of another kind of run.
    """
    rank, world, device = processes.rank(), processes.world(), processes.device()
    make_directory(run)
    optimisers = Optimisers(objective, config)
    mean = RunningMean(objective.captioner, config.mean_steps) if config.mean_steps else None
    start = 0
    if saved is not None:
        if saved.model.keys() != objective.state_dict().keys():
            raise _another_kind(run)
        objective.load_state_dict(saved.model)
        optimisers.load(saved.optimisers)
        if mean is not None:
            mean.load(saved.mean)
        start = saved.step

    def save(step: int) -> None:
        if rank == 0:
            means = {} if mean is None else mean.state()
            Checkpoint(config, step, objective.state_dict(), optimisers.state(), means).save(run)

    saved_at = time.monotonic()
    if rank == 0:
        cut_log(run / LOG, start)  # also for a run that ended before its first checkpoint
    with (run / LOG).open("a", encoding="utf-8") as file:
        log = Log(file if rank == 0 else None, config)
        stage, parts = None, 1
        steps = zip(range(start, config.steps), batches(config, start, rank, world), strict=True)
        for step, batch in progress(steps, "train", total=config.steps - start):
            if config.stage(step) != stage:
                stage = config.stage(step)
                needed = parts_that_fit(objective.captioner.config, stage, free_bytes(device))
                parts = processes.most(needed)
            terms = objective.terms(batch, config)  # counted before a GPU would be waited for
            lost, parts = learn(objective, batch.to(device), parts, terms, losses)
            nn.utils.clip_grad_norm_(objective.parameters(), config.clip)
            optimisers.step(step)
            if mean is not None:
                mean.update(step + 1)
            log.add(step, lost, len(batch.images) * world)
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                save(step + 1)
                saved_at = time.monotonic()
    save(config.steps)
    if mean is not None:
        objective.captioner.load_state_dict(mean.state())


def _another_kind(run: Path) -> InputError:
    return InputError(
        "train.resume",
        f"{run} holds a run of another kind.",
        "Resume it with the command and version that started it.",
    )


def learn(
    objective: nn.Module,
    batch: Batch,
    parts: int,
    terms: Mapping[str, Term],
    losses: Losses | None = None,
) -> tuple[dict[str, Tensor], int]:
    """Gradients of one batch, split into `parts`, and into twice as many when memory runs out.

    Retries only with a single process: the others would wait for passes that never come.
    `losses` is the result of `ready`; None: `objective` itself.
    Returns the mean of each loss, scalars on the batch's device, and the number of parts used.
    """
    losses = objective if losses is None else losses
    while True:
        try:
            means = dict.fromkeys(terms, torch.zeros((), device=batch.images.device))
            for part in batch.parts(parts):
                for name, mean in _learn_part(part, terms, losses).items():
                    means[name] = means[name] + mean
            return means, parts
        except RuntimeError as error:
            smallest = len(batch.matches) % (2 * parts) > 0
            if not is_out_of_memory(error) or smallest or processes.world() > 1:
                raise
            parts *= 2
            objective.zero_grad()  # gradients of the parts that fitted
            if batch.images.device.type == "cuda":
                torch.cuda.empty_cache()


def _learn_part(part: Batch, terms: Mapping[str, Term], losses: Losses) -> dict[str, Tensor]:
    """The part's share of each mean. Its activations are freed when this call returns."""
    with torch.autocast(part.images.device.type, torch.bfloat16):
        sums = dict(zip(terms, losses(part), strict=True))
    sum(sums[name] * (term.weight / term.count) for name, term in terms.items()).backward()
    return {name: sums[name].detach() / term.count for name, term in terms.items()}


def batches(config: TrainConfig, start: int, rank: int, world: int) -> Iterator[Batch]:
    """The run's batches from step `start` on, drawn ahead in worker processes.

    Raises InputError where scenes cannot be drawn: no font.
    """
    if start < config.steps:
        SceneBatches(config, rank, world)[start]  # errors in a worker process are hard to read
    loader = DataLoader(
        SceneBatches(config, rank, world),
        batch_size=None,
        sampler=range(start, config.steps),
        num_workers=processes.drawing(),
        prefetch_factor=4,
        pin_memory=processes.device().type == "cuda",
        multiprocessing_context="spawn",  # forking a process with threads is unsafe
    )
    yield from loader
