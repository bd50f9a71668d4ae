"""The losses of a training step.

B images   T tokens   Q images with texts   R texts   V vocabulary   E embedding
C pairs of a true text and its hard negative
L layers   H heads    P patches             D width   K head width
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.tokens import LOCATION_IDS, PAD_ID
from edgecap.reference.train.batch import Batch
from edgecap.reference.train.config import TrainConfig
from edgecap.reference.train.hints import EmbeddingHints, PatchHints

NEGATIVE_TEMPERATURE = 0.02  # cosine margin of a text over its hard negative


@dataclass(frozen=True)
class Term:
    """The weight of a summed loss: `weight` times its mean over `count` items."""

    weight: float
    count: int


def word_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy [B,T] of the next token: logits [B,T,V], targets int [B,T]; 0 at padding."""
    flat = logits.flatten(0, 1).float()  # [B*T,V]
    each = F.cross_entropy(flat, targets.flatten(), ignore_index=PAD_ID, reduction="none")
    return each.view_as(targets)


def is_location(tokens: Tensor) -> Tensor:
    """Which of int [B,T] are location tokens, bool [B,T]."""
    return (tokens >= LOCATION_IDS.start) & (tokens < LOCATION_IDS.stop)


def after_boxes(batch: Batch) -> Tensor:
    """Which targets follow the last box of a caption that has boxes, bool [B,T]."""
    B, T = batch.tokens.shape
    at = torch.arange(T, device=batch.tokens.device).expand(B, T)
    located = is_location(batch.tokens)  # [B,T]
    last = torch.full_like(at, -1).scatter_reduce(  # by number of the segment
        1, batch.segments, torch.where(located, at, -1), "amax"
    )
    own = last.gather(1, batch.segments)  # [B,T]
    return (at >= own) & (own >= 0) & (batch.targets != PAD_ID)


def contrastive_loss(
    images: Tensor, texts: Tensor, matches: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """Summed sigmoid loss (SigLIP, arXiv 2303.15343): [Q,E], [R,E], matches bool [Q,R].

    Unlike a softmax it allows several texts to match one image: scenes may share a text.
    """
    # Autocast would multiply in bfloat16, whose step at a cosine of 0.8 exceeds the margin
    # between a text and its hard negative.
    with torch.autocast(images.device.type, enabled=False):
        similarity = images.float() @ texts.float().T * scale.exp() + bias  # [Q,R]
    sign = matches.to(similarity.dtype) * 2 - 1  # [Q,R]
    return F.softplus(-similarity * sign).sum()


def hard_negative_loss(images: Tensor, texts: Tensor, has_negative: Tensor) -> Tensor:
    """Summed logistic loss of true texts against their hard negatives, scored by their image.

    images [Q,E]; texts [2C,E], for each image C/Q times a true one, then its hard negative;
    has_negative bool [C], False where there is none and the text is repeated.
    The sigmoid loss alone leaves hard negatives close together, as it only separates scenes. Most
    of an embedding encodes what is shown, so how it is combined makes small differences.
    """
    Q, E = images.shape
    own = texts.float().view(Q, len(texts) // (2 * Q), 2, E)  # [Q,C/Q,2,E]
    apart = own[:, :, 0] - own[:, :, 1]  # [Q,C/Q,E]
    ahead = (images.float()[:, None] * apart).sum(-1) / NEGATIVE_TEMPERATURE  # [Q,C/Q]
    return (F.softplus(-ahead).flatten() * has_negative).sum()


def question_loss(claims: Tensor, directions: Tensor, has_question: Tensor) -> Tensor:
    """Summed 1 - cosine between true minus false claim and the direction that answers it.

    claims [2C,E] as in `hard_negative_loss`; directions [C,E], of the image's embedding (hints.py);
    has_question bool [C]. With the image-text loss alone, claims stay close together: what
    they ask about is small compared with what is shown.
    """
    apart = claims.float()[0::2] - claims.float()[1::2]  # [C,E]
    return ((1 - F.cosine_similarity(apart, directions.float(), dim=1)) * has_question).sum()


def differ(texts: Tensor) -> Tensor:
    """Which pairs of texts int [2C,T] are not the same, bool [C]."""
    return (texts[0::2] != texts[1::2]).any(1)


def question_masks(batch: Batch) -> tuple[Tensor, Tensor]:
    """Which texts and which claims have a hard negative and a question, bool [Q] and [C]."""
    return (
        differ(batch.texts) & (batch.text_questions[:, 0] >= 0),
        differ(batch.claims) & (batch.questions[:, 0] >= 0),
    )


@dataclass(frozen=True)
class ModelOutputs:
    """The outputs of a captioner for a batch."""

    logits: Tensor  # [B,T,V]
    images: Tensor  # [Q,E], of the images that have texts
    texts: Tensor  # [R,E]
    states: list[Tensor]  # of the patches after each layer, L of [B,P,D]


def run_model(model: CaptionModel, batch: Batch) -> ModelOutputs:
    """All three functions of the contract on a batch, with teacher-forced captions."""
    keys, values, states = model.forward_image(
        batch.images, batch.corners
    )  # L of [B,H,P,K], [B,P,D]
    hidden = model.forward_text(
        batch.tokens, keys, values, batch.segments, batch.positions
    )  # [B,T,D]
    with_texts = states[-1][:: len(batch.images) // len(batch.matches)]  # [Q,P,D]
    return ModelOutputs(
        model.logits(hidden),
        model.embed_image(with_texts),
        model.encode_text(batch.texts, batch.lengths),
        states,
    )


def caption_losses(model: CaptionModel, batch: Batch) -> tuple[Tensor, Tensor, ModelOutputs]:
    """Losses of the tokens [B,T], summed contrastive loss, and the model's outputs."""
    outputs = run_model(model, batch)
    matched = contrastive_loss(
        outputs.images, outputs.texts, batch.matches, model.contrast_scale, model.contrast_bias
    )
    return word_losses(outputs.logits, batch.targets), matched, outputs


class TrainingObjective(nn.Module):
    """A captioner with its losses as the forward: one summed loss per term.

    Compilers and DDP so get a single module.
    """

    captioner: CaptionModel

    def terms(self, batch: Batch, config: TrainConfig) -> dict[str, Term]:
        """The weight of each sum, in the order of the forward's outputs."""
        raise NotImplementedError


class Objective(TrainingObjective):
    """The objective of training on ground truth."""

    def __init__(self, captioner: CaptionModel) -> None:
        super().__init__()
        self.captioner = captioner
        self.hints = PatchHints(captioner.config.width)
        self.embedding_hints = EmbeddingHints(captioner.config.embedding)

    def terms(self, batch: Batch, config: TrainConfig) -> dict[str, Term]:
        return {
            "caption": Term(1.0, batch.words),  # tokens other than locations
            "box": Term(config.box_weight, batch.words),
            "told": Term(config.relation_loss_weight, max(1, int(after_boxes(batch).sum()))),
            "contrastive": Term(config.contrast_weight, len(batch.matches)),
            "twin": Term(config.twin_weight, max(1, int(differ(batch.texts).sum()))),
            "claim": Term(config.twin_weight, max(1, int(differ(batch.claims).sum()))),
            "question": Term(
                config.question_weight, max(1, int(torch.cat(question_masks(batch)).sum()))
            ),
            "place": Term(
                config.place_weight, max(1, int((batch.thing_positions[..., 0] >= 0).sum()))
            ),
            "hint": Term(config.hint_weight, batch.patches),
        }

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Summed loss of each of the terms, scalars, in their order."""
        words, matched, outputs = caption_losses(self.captioner, batch)
        boxes = words * is_location(batch.targets)  # [B,T]
        relation = words * after_boxes(batch)  # [B,T]
        negatives = hard_negative_loss(outputs.images, outputs.texts, differ(batch.texts))
        claims = self.captioner.encode_text(batch.claims, batch.claim_lengths)  # [2C,E]
        claimed = hard_negative_loss(outputs.images, claims, differ(batch.claims))
        text_mask, claim_mask = question_masks(batch)
        direction = self.embedding_hints.direction
        questioned = question_loss(outputs.texts, direction(batch.text_questions), text_mask)
        questioned = questioned + question_loss(claims, direction(batch.questions), claim_mask)
        positioned = self.embedding_hints(outputs.images, batch.thing_positions)
        # Early enough that later layers can pass the result on to the text.
        early, late = (outputs.states[n * len(outputs.states) // 8 - 1] for n in (5, 6))  # [B,P,D]
        hinted = self.hints(early, late, batch.hints)
        return (
            (words - boxes).sum(),
            boxes.sum(),
            relation.sum(),
            matched,
            negatives,
            claimed,
            questioned,
            positioned,
            hinted,
        )
