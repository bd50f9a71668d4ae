"""Fine-tuning: steps on new captions, each with as many old ones, all weights or low-rank updates.

B pictures of either kind a step   Q of them with texts

New captions are learned from what is said. Old ones are rehearsed by answering as the weights did
at the beginning ("Learning without forgetting", arXiv 1606.09282): the truth alone holds a model
only where it was right, and a short run at a rate that teaches moves the rest.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from edgecap.core.errors import InputError
from edgecap.core.progress import progress
from edgecap.model.captioner import Captioner
from edgecap.train import lora
from edgecap.train.data import Batch
from edgecap.train.distil import Teacher, apart, divergence, off
from edgecap.train.losses import answer, described
from edgecap.train.rehearsal import Rehearsal
from edgecap.train.said import Said

_LOG_EVERY = 5  # steps


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune. The only home of these defaults."""

    steps: int = 300
    pictures: int = 8  # B, with new captions a step, and as many with old ones
    lora: int = 0  # rank of the updates; 0: all weights are learned
    seed: int = 0
    full_rate: float = 3e-4  # AdamW, all weights
    lora_rate: float = 2e-3  # AdamW, updates that begin at zero
    caption_weight: float = 1.0  # of the new captions; 0: the new texts are only matched
    contrast_weight: float = 0.1
    warmup_steps: int = 20
    clip: float = 1.0  # gradient norm

    def check(self) -> None:
        """Raise InputError for numbers that cannot work."""
        if self.steps < 1 or self.pictures < 2 or self.lora < 0 or self.seed < 0:
            raise InputError(
                "finetune.number",
                f"steps {self.steps}, rank {self.lora} and seed {self.seed}: at least 1, 0 and 0, "
                f"and 2 pictures a step, got {self.pictures}.",
            )

    def rate(self, step: int) -> float:
        """Of learning at `step`: warm-up, then a linear fall to 2 %."""
        share = min((step + 1) / self.warmup_steps, max(0.02, 1 - step / self.steps))
        return share * (self.lora_rate if self.lora else self.full_rate)


Row = dict[str, float]  # of the log: step, and the mean losses since the row before


def finetune(
    model: Captioner,
    said: Said,
    rehearsal: Rehearsal | None,
    config: FinetuneConfig,
    rows: list[int],
) -> list[Row]:
    """Teach `model`, in place, what is said of pictures; returns the log.

    `rows` are the ids of the token table that mean something new: with LoRA only those are learned
    beside the updates, which are merged at the end.
    """
    config.check()
    torch.manual_seed(config.seed)
    device = model.token.weight.device
    model.requires_grad_(True)
    teacher = None if rehearsal is None else Teacher(deepcopy(model))
    if config.lora:
        lora.attach(model, config.lora, rows)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, betas=(0.9, 0.98), weight_decay=0.0)
    log: list[Row] = []
    sums: Row = {}
    for step in progress(range(config.steps), "fine-tuning"):
        new = said.batch(config.seed, step, config.pictures).to(device)
        losses = _learn(model, new, config)
        if rehearsal is not None and teacher is not None:
            losses |= _keep(model, rehearsal(step).to(device), teacher)
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + value / _LOG_EVERY
        nn.utils.clip_grad_norm_(learned, config.clip)
        for group in optimiser.param_groups:
            group["lr"] = config.rate(step)
        optimiser.step()
        optimiser.zero_grad()
        if (step + 1) % _LOG_EVERY == 0:
            log.append({"step": step + 1, **{key: round(value, 4) for key, value in sums.items()}})
            sums = {}
    if config.lora:
        lora.merge(model)
    model.requires_grad_(False)
    return log


def _learn(model: Captioner, batch: Batch, config: FinetuneConfig) -> Row:
    """Add the gradients of new captions; the losses per token and per text."""
    with parametrize.cached():
        with torch.autocast(batch.images.device.type, torch.bfloat16):
            words, contrast, _ = described(model, batch)
        caption, contrast = words.sum() / batch.words, contrast / len(batch.matches)
        (config.caption_weight * caption + config.contrast_weight * contrast).backward()
    return {"new_caption": caption.item(), "new_contrast": contrast.item()}


def _keep(model: Captioner, batch: Batch, teacher: Teacher) -> Row:
    """Add the gradients of old captions; how far words, embeddings and patches are from before."""
    with parametrize.cached():
        with torch.autocast(batch.images.device.type, torch.bfloat16):
            wanted, got = teacher.answer(batch), answer(model, batch)
        words = divergence(got.logits, wanted.logits, batch.targets) / batch.words
        embedded = apart(got.images, wanted.images) + apart(got.texts, wanted.texts)
        embedded = embedded / (len(got.images) + len(got.texts))
        pairs = zip(got.states, wanted.states, strict=True)
        seen = torch.stack([off(a, b) for a, b in pairs]).mean()
        (words + embedded + seen).backward()
    return {"old_words": words.item(), "old_embeddings": embedded.item(), "old_states": seen.item()}


@torch.no_grad()
def caption_loss(model: Captioner, said: Said, batch: int = 8) -> float:
    """Nats a token of captions, every picture once; the same captions for the same pictures."""
    total, words = 0.0, 0
    for start in range(0, len(said), batch):
        places = range(start, min(start + batch, len(said)))
        part = said.described(list(places), np.random.default_rng(start))
        part = part.to(model.token.weight.device)
        total += described(model, part)[0].sum().item()
        words += part.words
    return total / words
