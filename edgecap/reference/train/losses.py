"""What a step minimises.

B images   T tokens   Q images with texts   R texts   V vocabulary   E embedding
C pairs of a true text and its false twin
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

TWIN_TEMPERATURE = 0.02  # cosines that a text should beat its false twin by


@dataclass(frozen=True)
class Term:
    """How a summed loss counts: `weight` times its mean over `count` things."""

    weight: float
    count: int


def word_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy [B,T] of the next token: logits [B,T,V], targets int [B,T]; 0 at padding."""
    flat = logits.flatten(0, 1).float()  # [B*T,V]
    each = F.cross_entropy(flat, targets.flatten(), ignore_index=PAD_ID, reduction="none")
    return each.view_as(targets)


def is_location(tokens: Tensor) -> Tensor:
    """Which of int [B,T] are edges of boxes, bool [B,T]."""
    return (tokens >= LOCATION_IDS.start) & (tokens < LOCATION_IDS.stop)


def after_boxes(batch: Batch) -> Tensor:
    """Which targets follow the last box of a caption that has boxes, bool [B,T]."""
    B, T = batch.tokens.shape
    at = torch.arange(T, device=batch.tokens.device).expand(B, T)
    place = is_location(batch.tokens)  # [B,T]
    last = torch.full_like(at, -1).scatter_reduce(  # by number of the segment
        1, batch.segments, torch.where(place, at, -1), "amax"
    )
    own = last.gather(1, batch.segments)  # [B,T]
    return (at >= own) & (own >= 0) & (batch.targets != PAD_ID)


def contrastive_loss(
    images: Tensor, texts: Tensor, matches: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """Summed sigmoid loss (SigLIP, arXiv 2303.15343): [Q,E], [R,E], matches bool [Q,R].

    Unlike a softmax it lets several texts match one image: two scenes may say the same.
    """
    # Autocast would multiply in bfloat16, whose steps at a cosine of 0.8 are wider than
    # hard_negatives part.
    with torch.autocast(images.device.type, enabled=False):
        similarity = images.float() @ texts.float().T * scale.exp() + bias  # [Q,R]
    sign = matches.to(similarity.dtype) * 2 - 1  # [Q,R]
    return F.softplus(-similarity * sign).sum()


def twin_loss(images: Tensor, texts: Tensor, has_twin: Tensor) -> Tensor:
    """Summed logistic loss of true texts against their false hard_negatives, judged by their image.

    images [Q,E]; texts [2C,E], of each image C/Q times a true one, then its twin; has_twin bool
    [C], false where there is none, and the same text twice.
    The sigmoid loss alone leaves hard_negatives alike: it is content to tell scenes apart. What is
    shown takes most of an embedding, so small differences must do for how it is put together.
    """
    Q, E = images.shape
    own = texts.float().view(Q, len(texts) // (2 * Q), 2, E)  # [Q,C/Q,2,E]
    apart = own[:, :, 0] - own[:, :, 1]  # [Q,C/Q,E]
    ahead = (images.float()[:, None] * apart).sum(-1) / TWIN_TEMPERATURE  # [Q,C/Q]
    return (F.softplus(-ahead).flatten() * has_twin).sum()


def question_loss(claims: Tensor, directions: Tensor, has_question: Tensor) -> Tensor:
    """Summed 1 - cosine of what parts true claims from their hard_negatives and what would answer
    them.

    claims [2C,E] as in `twin_loss`; directions [C,E], of the image's embedding (hints.py);
    has_question bool [C]. CaptionTrace by their images alone, claims stay alike: what they ask for
    is small beside what is shown.
    """
    apart = claims.float()[0::2] - claims.float()[1::2]  # [C,E]
    return ((1 - F.cosine_similarity(apart, directions.float(), dim=1)) * has_question).sum()


def differ(texts: Tensor) -> Tensor:
    """Which pairs of texts int [2C,T] are not the same, bool [C]."""
    return (texts[0::2] != texts[1::2]).any(1)


def asked(batch: Batch) -> tuple[Tensor, Tensor]:
    """Which texts and which claims have a twin and a question, bool [Q] and [C]."""
    return (
        differ(batch.texts) & (batch.text_questions[:, 0] >= 0),
        differ(batch.claims) & (batch.questions[:, 0] >= 0),
    )


@dataclass(frozen=True)
class Answers:
    """What a captioner makes of a batch."""

    logits: Tensor  # [B,T,V]
    images: Tensor  # [Q,E], of the images that have texts
    texts: Tensor  # [R,E]
    states: list[Tensor]  # of the patches after each layer, L of [B,P,D]


def answer(model: CaptionModel, batch: Batch) -> Answers:
    """All three functions of the contract on a batch, captions teacher-forced."""
    keys, values, states = model.see(batch.images, batch.corners)  # L of [B,H,P,K], [B,P,D]
    read = model.read(batch.tokens, keys, values, batch.segments, batch.positions)  # [B,T,D]
    told = states[-1][:: len(batch.images) // len(batch.matches)]  # [Q,P,D]
    return Answers(
        model.logits(read),
        model.embed_image(told),
        model.encode_text(batch.texts, batch.lengths),
        states,
    )


def described(model: CaptionModel, batch: Batch) -> tuple[Tensor, Tensor, Answers]:
    """Losses of the words [B,T], summed contrastive loss, and the answers that they judge."""
    said = answer(model, batch)
    matched = contrastive_loss(
        said.images, said.texts, batch.matches, model.contrast_scale, model.contrast_bias
    )
    return word_losses(said.logits, batch.targets), matched, said


class Teaching(nn.Module):
    """What a run minimises: a captioner with its losses as the forward.

    So compilers and DDP see one module. The forward gives one summed loss for each of the terms.
    """

    captioner: CaptionModel

    def terms(self, batch: Batch, config: TrainConfig) -> dict[str, Term]:
        """How each sum counts, in their order."""
        raise NotImplementedError


class Objective(Teaching):
    """Learning to say what is true."""

    def __init__(self, captioner: CaptionModel) -> None:
        super().__init__()
        self.captioner = captioner
        self.hints = PatchHints(captioner.config.width)
        self.embedding_hints = EmbeddingHints(captioner.config.embedding)

    def terms(self, batch: Batch, config: TrainConfig) -> dict[str, Term]:
        return {
            "caption": Term(1.0, batch.words),  # of what is no place
            "box": Term(config.box_weight, batch.words),
            "told": Term(config.relation_loss_weight, max(1, int(after_boxes(batch).sum()))),
            "contrastive": Term(config.contrast_weight, len(batch.matches)),
            "twin": Term(config.twin_weight, max(1, int(differ(batch.texts).sum()))),
            "claim": Term(config.twin_weight, max(1, int(differ(batch.claims).sum()))),
            "question": Term(config.question_weight, max(1, int(torch.cat(asked(batch)).sum()))),
            "place": Term(config.place_weight, max(1, int((batch.seen[..., 0] >= 0).sum()))),
            "hint": Term(config.hint_weight, batch.patches),
        }

    def forward(self, batch: Batch) -> tuple[Tensor, ...]:
        """Summed loss of each of the terms, scalars, in their order."""
        words, matched, said = described(self.captioner, batch)
        boxes = words * is_location(batch.targets)  # [B,T]
        told = words * after_boxes(batch)  # [B,T]
        parted = twin_loss(said.images, said.texts, differ(batch.texts))
        claims = self.captioner.encode_text(batch.claims, batch.claim_lengths)  # [2C,E]
        claimed = twin_loss(said.images, claims, differ(batch.claims))
        texts_ask, claims_ask = asked(batch)
        direction = self.embedding_hints.direction
        questioned = question_loss(said.texts, direction(batch.text_questions), texts_ask)
        questioned = questioned + question_loss(claims, direction(batch.questions), claims_ask)
        placed = self.embedding_hints(said.images, batch.seen)
        # Early enough that the layers after it can hand what was found on to the words.
        early, late = (said.states[n * len(said.states) // 8 - 1] for n in (5, 6))  # [B,P,D]
        hinted = self.hints(early, late, batch.hints)
        return (
            (words - boxes).sum(),
            boxes.sum(),
            told.sum(),
            matched,
            parted,
            claimed,
            questioned,
            placed,
            hinted,
        )
