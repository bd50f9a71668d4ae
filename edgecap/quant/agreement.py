"""How often a rounded captioner chooses the next token that the float one chooses.

Both are fed the float model's own greedy captions (teacher forcing), so one early difference does
not count for all the words after it.

Letters: M steps of all captions, V vocabulary, E embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecap.quant.calibration_set import CalibrationSet, Replayed
    from edgecap.reference.model.captioner import CaptionModel

TIE = 0.5  # nats: a token that the float model scores this close to its best is as good


@dataclass(frozen=True)
class Agreement:
    """Over all steps of a calibration set."""

    steps: int  # M
    top1: float  # 0-1, steps whose best token is the same
    as_good: float  # 0-1, steps whose best token the float model scores within TIE of its own
    divergence: float  # nats, mean KL(float || rounded)
    cosine: float  # smallest, of an embedding with that of the float model


def compare(
    reference: CaptionModel, quantised: CaptionModel, calibration_set: CalibrationSet
) -> Agreement:
    """Agreement of `quantised` with `reference` on a calibration set."""
    return agree(
        zip(
            calibration_set.replay(reference, "float"),
            calibration_set.replay(quantised, "rounded"),
            strict=True,
        )
    )


def agree(pairs: Iterable[tuple[Replayed, Replayed]]) -> Agreement:
    """The same from the outputs of a float and a rounded model, batch by batch."""
    import torch.nn.functional as F

    same = near = steps = 0
    divergence, cosine = 0.0, 1.0
    for (a, embedding), (b, rounded) in pairs:  # [m,V], [b,E]
        best, choice = a.max(-1), b.argmax(-1)  # [m]
        same += int((choice == best.indices).sum())
        near += int((best.values - a.gather(1, choice[:, None])[:, 0] <= TIE).sum())
        log_a, log_b = a.log_softmax(-1), b.log_softmax(-1)  # [m,V]
        divergence += float(F.kl_div(log_b, log_a, log_target=True, reduction="sum"))
        if embedding is not None and rounded is not None:
            cosine = min(cosine, float(F.cosine_similarity(embedding, rounded).min()))
        steps += len(a)
    return Agreement(steps, same / steps, near / steps, divergence / steps, cosine)
