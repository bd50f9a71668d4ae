"""Distillation of any captioner: its rounded copy learns to answer as the float model does.

Teacher and student are fed the teacher's own captions of the images. The student learns the
teacher's next-token distributions, and the rows that it made of the image; nobody's captions are
needed, and what the float model gets wrong is kept too.

Letters: B images of a batch, M steps of their captions, V vocabulary, N all images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.models.adapter import GraphFunction
from edgecap.quant.captions import CaptionSet, Stepper
from edgecap.quant.learned import LearnedRounding

BATCH = 16
RATE = 1e-5  # of AdamW; at 1e-4 even unrounded words of the reference moved (benchmarks/LOG.md)
WARM_UP = 0.05  # of the run
CLIP = 1.0
STATE_WEIGHT = 1.0


@dataclass(frozen=True)
class Step:
    """What one step of training did."""

    images: int  # that were seen so far, with repetition
    word_loss: float  # nats per token, KL(teacher || student)
    state_loss: float  # squared error of the image rows, as a share of their square


def distil(
    teacher: Sequence[GraphFunction],
    learned: LearnedRounding,
    parameters: Sequence[nn.Parameter],
    captions: CaptionSet,
    share_done: Callable[[int], float],
    seed: int = 0,
) -> Iterator[Step]:
    """Train the parameters of the student and the scales of `learned`; yields after every step.

    Args:
        teacher: the float functions.
        learned: the student, rounded.
        parameters: of the student's model.
        captions: the teacher's, of N images; these are repeated in a new order each time.
        share_done: how much of the run is over after so many images, 0 to 1: the rate falls with
            it as a cosine, and at 1 the run ends.
        seed: of the order.
    """
    trained = [*parameters, *learned.scales.parameters()]
    optimiser = torch.optim.AdamW(trained, RATE, weight_decay=0.0)
    seen = 0
    for rows in _batches(len(captions), seed):
        share = share_done(seen)
        if share >= 1:
            return
        for group in optimiser.param_groups:
            warming = min(1.0, (share + 0.01) / WARM_UP)
            group["lr"] = RATE * warming * (0.5 + 0.5 * math.cos(math.pi * share))
        batch = captions.subset(rows)
        with torch.no_grad():
            expected = _run(teacher, batch)
        with learned.rounded():
            found = _run(learned.tapped, batch)
        word, state = _divergence(found[0], expected[0]), _distance(found[1], expected[1])
        optimiser.zero_grad()
        (word + STATE_WEIGHT * state).backward()
        nn.utils.clip_grad_norm_(trained, CLIP)
        optimiser.step()
        seen += len(rows)
        yield Step(seen, float(word.detach()), float(state.detach()))


def _batches(number: int, seed: int) -> Iterator[list[int]]:
    """Rows of up to BATCH images, without end; every image once before any comes again."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(number).tolist()
        yield from (order[start : start + BATCH] for start in range(0, number, BATCH))


def _run(functions: Sequence[GraphFunction], batch: CaptionSet) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits [M,V] of the steps that chose a token, and what encode made of the images."""
    stepper = Stepper(functions, batch.interface, batch.images)
    logits = [step for _, position, step in batch.steps(stepper, 0) if position >= batch.prompt - 1]
    return torch.cat(logits), stepper.encoded


def _divergence(found: Tensor, expected: Tensor) -> Tensor:
    """Mean KL(expected || found) of logits [M,V], nats."""
    return F.kl_div(
        found.log_softmax(-1), expected.log_softmax(-1), log_target=True, reduction="batchmean"
    )


def _distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> Tensor:
    """Squared error of the encoded rows as a share of their square, the mean over all entries."""
    shares = [
        (found[name] - rows).square().mean() / rows.square().mean().clamp_min(1e-12)
        for name, rows in expected.items()
    ]
    return torch.stack(shares).mean()
