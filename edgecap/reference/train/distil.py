"""Distillation for QAT: a quantised captioner is trained to match the float one.

    B images   T tokens   Q images with texts   R texts   V vocabulary   E embedding
    L layers   P patches  D width

The teacher is the float model with the initial weights. Ground truth is not used: the outputs of
the float model are to be preserved, right or wrong.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecap.quant.learned import LearnedRounding
from edgecap.quant.plan import Plan
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.quant import ReferenceSubject
from edgecap.reference.tokens import PAD_ID
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.config import TrainConfig
from edgecap.reference.train.losses import ModelOutputs, Term, TrainingObjective, run_model

EMBEDDING_WEIGHT, STATE_WEIGHT = 1.0, 1.0


class Teacher:
    """A frozen captioner; not an nn.Module, so that its weights are not in the run's checkpoint."""

    def __init__(self, captioner: CaptionModel) -> None:
        self._captioner = captioner.eval().requires_grad_(False)

    def outputs(self, batch: Batch) -> ModelOutputs:
        with torch.no_grad():
            return run_model(self._captioner, batch)


class Distillation(TrainingObjective):
    """A quantised captioner; the forward returns its distances from the teacher."""

    def __init__(self, captioner: CaptionModel, plan: Plan, teacher: Teacher) -> None:
        """`captioner` must be smoothed; its parameters and the plan's scales are trained."""
        super().__init__()
        learned = LearnedRounding(ReferenceSubject(captioner), plan)
        self.scales, self.captioner, self.rounded = learned.scales, learned.tapped, learned.rounded
        self._teacher = teacher

    def terms(self, batch: Batch, config: TrainConfig) -> dict[str, Term]:
        return {
            "word": Term(1.0, batch.words),
            "embedding": Term(EMBEDDING_WEIGHT, len(batch.matches) + len(batch.texts)),
            "state": Term(STATE_WEIGHT, len(batch.images)),
        }

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Summed divergence of the words, summed distances of embeddings and states, scalars."""
        reference = self._teacher.outputs(batch)
        with self.rounded():
            got = run_model(self.captioner, batch)
        embedded = apart(got.images, reference.images) + apart(got.texts, reference.texts)
        pairs = zip(got.states, reference.states, strict=True)
        state_errors = torch.stack([off(a, b) for a, b in pairs]).mean(0)  # [B]
        return divergence(got.logits, reference.logits, batch.targets), embedded, state_errors.sum()


def divergence(got: Tensor, reference: Tensor, targets: Tensor) -> Tensor:
    """Summed KL(reference || got) of logits [B,T,V] where targets int [B,T] are words."""
    log_reference = reference.float().log_softmax(-1)  # [B,T,V]
    log_got = got.float().log_softmax(-1)  # [B,T,V]
    each = (log_reference.exp() * (log_reference - log_got)).sum(-1)  # [B,T]
    return (each * (targets != PAD_ID)).sum()


def apart(got: Tensor, reference: Tensor) -> Tensor:
    """Summed 1 - cosine of embeddings [N,E] of norm 1."""
    return (1 - F.cosine_similarity(got.float(), reference.float(), dim=-1)).sum()


def off(got: Tensor, reference: Tensor) -> Tensor:
    """Squared error of each image's states [B,P,D], as a share of their square; [B]."""
    error = (got - reference).float().square().mean((1, 2))  # [B]
    return error / reference.float().square().mean((1, 2))  # [B]
