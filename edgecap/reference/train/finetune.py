"""Fine-tuning steps on new captions with rehearsal of old ones; all weights or low-rank updates.

B images of each kind per step   Q of them with texts
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.train import lora
from edgecap.reference.train.average import RunningMean
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.captions import CaptionDataset
from edgecap.reference.train.losses import caption_losses
from edgecap.reference.train.optimisers import Optimisers
from edgecap.reference.train.rehearsal import Rehearsal

_NEW, _OLD = "new", "old"
_LOG_EVERY = 5  # steps


@dataclass(frozen=True)
class FinetuneConfig:
    """Fine-tuning parameters. These defaults are defined here only."""

    steps: int = 200
    images: int = 10  # B, images with new captions per step
    rehearsed: int = 18  # images with old captions per step
    lora: int = 0  # rank of the updates; 0: all weights are learned
    seed: int = 0
    muon_rate: float = 4e-4  # block matrices
    adamw_rate: float = 2.5e-4  # everything else
    lora_rate: float = 2e-3  # AdamW, low-rank updates, initially zero
    weight_decay: float = 0.0
    row_steps: int = 250  # first phase, on the new rows of the token table only
    row_rate: float = 1e-2  # AdamW, initial rate of these steps, then falling linearly
    caption_weight: float = 1.0  # of new captions; 0: contrastive loss only
    contrast_weight: float = 0.1
    warmup_steps: int = 20
    mean_steps: int = 60  # of the running mean of weights that is the result
    clip: float = 1.0  # gradient norm

    def check(self) -> None:
        """Raise InputError for invalid numbers."""
        if self.steps < 1 or self.images < 2 or self.lora < 0 or self.seed < 0:
            raise InputError(
                "finetune.number",
                f"steps {self.steps}, rank {self.lora} and seed {self.seed}: at least 1, 0 and 0, "
                f"and 2 images a step, got {self.images}.",
            )

    def rate(self, step: int) -> float:
        """Factor on the rates at `step`: warm-up, then a linear fall to 2 %."""
        return min((step + 1) / self.warmup_steps, max(0.02, 1 - step / self.steps))

    def low_rank(self) -> FinetuneConfig:
        """A copy with the learning rate of low-rank updates."""
        return replace(self, muon_rate=0.0, adamw_rate=self.lora_rate)


Row = dict[str, float]  # of the log: step, and the mean losses since the row before


def finetune_steps(
    model: CaptionModel,
    dataset: CaptionDataset,
    rehearsal: Rehearsal | None,
    config: FinetuneConfig,
    rows: list[int],
) -> list[Row]:
    """Fine-tune `model`, in place, on the captions of `dataset`; returns the log.

    `rows` are the ids of new tokens. They are trained alone first: while they are untrained, the
    loss of new captions is so large that it would dominate rehearsal. With LoRA only the updates
    and these rows are trained; the updates are merged at the end.
    """
    config.check()
    torch.manual_seed(config.seed)
    if rows:
        train_new_rows(model, dataset, config, rows)
    device = model.token.weight.device
    model.requires_grad_(True)
    if config.lora:
        lora.attach(model, config.lora, rows)
    mean = RunningMean(model, config.mean_steps)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimisers = Optimisers(model, config.low_rank() if config.lora else config)
    log: list[Row] = []
    sums: Row = {}
    for step in progress(range(config.steps), "fine-tuning"):
        batches = {_NEW: dataset.batch(config.seed, step, config.images)}
        if rehearsal is not None:
            batches[_OLD] = rehearsal(step)
        for kind, batch in batches.items():
            weight = config.caption_weight if kind == _NEW else 1.0
            for name, value in _learn(model, batch.to(device), weight, config).items():
                key = f"{kind}_{name}"
                sums[key] = sums.get(key, 0.0) + value / _LOG_EVERY
        nn.utils.clip_grad_norm_(learned, config.clip)
        optimisers.step(step)
        mean.update(step + 1)
        if (step + 1) % _LOG_EVERY == 0:
            log.append({"step": step + 1, **{key: round(value, 4) for key, value in sums.items()}})
            sums = {}
    model.load_state_dict(mean.state())
    if config.lora:
        lora.merge(model)
    model.requires_grad_(False)
    return log


def train_new_rows(
    model: CaptionModel, dataset: CaptionDataset, config: FinetuneConfig, rows: list[int]
) -> None:
    """Train only the new rows of the token table, in place."""
    lora.attach_rows(model, rows)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, config.row_rate, betas=(0.9, 0.98), weight_decay=0.0)
    for step in progress(range(config.row_steps), "introducing the language"):
        optimiser.param_groups[0]["lr"] = config.row_rate * (1 - step / config.row_steps)
        batch = dataset.batch(config.seed, config.steps + step, config.images)
        _learn(model, batch.to(model.token.weight.device), config.caption_weight, config)
        optimiser.step()
        optimiser.zero_grad()
    lora.merge(model)


def _learn(
    model: CaptionModel, batch: Batch, caption_weight: float, config: FinetuneConfig
) -> dict[str, float]:
    """Accumulate the gradients of one batch; returns the losses per token and per text."""
    with parametrize.cached():
        with torch.autocast(batch.images.device.type, torch.bfloat16):
            words, contrast, _ = caption_losses(model, batch)
        caption, contrast = words.sum() / batch.words, contrast / len(batch.matches)
        (caption_weight * caption + config.contrast_weight * contrast).backward()
    return {"caption": caption.item(), "contrast": contrast.item()}


@torch.no_grad()
def caption_loss(model: CaptionModel, dataset: CaptionDataset, batch: int = 8) -> float:
    """Nats per token, each image once, with a deterministic choice of captions."""
    total, words = 0.0, 0
    for start in range(0, len(dataset), batch):
        places = range(start, min(start + batch, len(dataset)))
        part = dataset.batch_of(list(places), np.random.default_rng(start))
        part = part.to(model.token.weight.device)
        total += caption_losses(model, part)[0].sum().item()
        words += part.words
    return total / words
