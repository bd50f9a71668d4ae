"""The training run: draw, learn, log, checkpoint; resume where it stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from edgecap.core.config import SIZES
from edgecap.core.progress import progress
from edgecap.model.captioner import Captioner
from edgecap.train.checkpoint import Checkpoint
from edgecap.train.config import TrainConfig
from edgecap.train.data import Batch, SceneBatches
from edgecap.train.losses import Objective
from edgecap.train.optimisers import Optimisers

SAVE_EVERY_S = 240  # seconds between checkpoints
LOG_EVERY = 20  # steps


def train(config: TrainConfig, run: Path, resume: bool = False, compile_: bool = True) -> Captioner:
    """Train by `config` in the directory `run`, from its checkpoint where `resume` is set.

    A resumed run may be given other stages or rates; weights, optimiser state and step go on.
    Returns the captioner in float32. Under torchrun each process trains on its own scenes.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    if world > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    model = Captioner(SIZES[config.size]).to(device)
    optimisers = Optimisers(model, config)
    start = 0
    if resume:
        saved = Checkpoint.load(run)
        model.load_state_dict(saved.model)
        optimisers.load(saved.optimisers)
        start = saved.step
    objective: nn.Module = Objective(model)
    if world > 1:
        objective = nn.parallel.DistributedDataParallel(objective)
    learn = torch.compile(objective, dynamic=False) if compile_ else objective

    def save(step: int) -> None:
        if rank == 0:
            Checkpoint(config, step, model.state_dict(), optimisers.state()).save(run)

    saved_at = time.monotonic()
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
        clock, seen = time.monotonic(), 0
        told_sum = matched_sum = 0.0
        steps = zip(range(start, config.steps), batches(config, start, rank, world), strict=True)
        for step, batch in progress(steps, "train", total=config.steps - start):
            batch = batch.to(device)
            with torch.autocast(device.type, torch.bfloat16):
                told, matched = learn(batch)
            (told + config.contrast_weight * matched).backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimisers.step(step)
            told_sum, matched_sum = told_sum + told.item(), matched_sum + matched.item()
            seen += len(batch.images)
            if (step + 1) % LOG_EVERY == 0 and rank == 0:
                row = {
                    "step": step + 1,
                    "window": config.stage(step).window,
                    "caption_loss": round(told_sum / LOG_EVERY, 4),
                    "contrastive_loss": round(matched_sum / LOG_EVERY, 4),
                    "rate": round(config.rate(step), 4),
                    "images_per_s": round(seen / (time.monotonic() - clock), 1),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                clock, seen, told_sum, matched_sum = time.monotonic(), 0, 0.0, 0.0
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                save(step + 1)
                saved_at = time.monotonic()
    save(config.steps)
    return model


def batches(config: TrainConfig, start: int, rank: int, world: int) -> Iterator[Batch]:
    """The run's batches from step `start` on, drawn ahead in a process of their own."""
    loader = DataLoader(
        SceneBatches(config, rank, world),
        batch_size=None,
        sampler=range(start, config.steps),
        num_workers=1,
        prefetch_factor=4,
    )
    yield from loader
