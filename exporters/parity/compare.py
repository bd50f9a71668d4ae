"""A target's outputs beside PyTorch's, figure by figure, and the bounds.

Letters as in bundle/interface.py; N scenes, K steps of one scene, M steps of all scenes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from edgecap.bundle.certificate import (
    AgreementParity,
    Certificate,
    Divergence,
    OutputParity,
    certify,
)
from edgecap.bundle.golden import measure, output_cosines
from edgecap.core.boxes import iou
from edgecap.core.errors import BundleError
from edgecap.exporters.parity.captions import frame, greedy_captions
from edgecap.exporters.parity.outputs import FLOATS, ReferenceOutputs
from edgecap.exporters.parity.tolerances import BOUNDS, CLOSE, Bounds
from edgecap.runtime.captioner import Captioner
from edgecap.runtime.forcing import teacher_forced


def compare(captioner: Captioner, references: ReferenceOutputs, engine: str) -> Certificate:
    """Run the same scenes on the target, and judge. `engine`: what runs it."""
    manifest = captioner.manifest
    bounds = BOUNDS[manifest.precision]
    allowed = bounds.outputs(references.spread)
    found: list[tuple[int, OutputParity]] = []
    diverged: list[Divergence] = []
    same: Counter[str] = Counter()
    start = 0
    for i, reference in enumerate(references.captions):
        encoded = captioner.graphs.encode(references.model_input[i : i + 1])
        request = references.requests[i]
        try:
            got = greedy_captions(captioner, encoded, [request])[0]
        except BundleError as error:  # NaN or infinity
            raise BundleError(error.code, f"scene {i}: {error.message}") from None
        same["tokens"] += got.tokens == reference.tokens
        same["boxes"] += _same_boxes(got.boxes, reference.boxes, bounds.iou)
        same["text"] += got.text == reference.text
        prompt = captioner.vocabulary.prompt(*request)
        ((logits, attention),) = teacher_forced(  # [K,V], [K,P]
            captioner.graphs, encoded, prompt, [reference.tokens]
        )
        end = start + len(logits)
        embedding = captioner.graphs.encode_text(*frame(captioner, reference.text))  # [1,E]
        outputs = {
            "image_embedding": (encoded["image_embedding"], slice(i, i + 1)),
            "text_embedding": (embedding, slice(i, i + 1)),
            "logits": (logits, slice(start, end)),
            "attention": (attention, slice(start, end)),
        }
        for name, (value, rows) in outputs.items():
            expected = np.asarray(getattr(references, name)[rows])
            found.append((i, measure(name, expected, value, allowed)))
            if name in ("logits", "attention"):
                same[f"close_{name}"] += int((output_cosines(name, expected, value) >= CLOSE).sum())
        scores = np.asarray(references.logits[start:end])  # [K,V]
        same["next_token"] += _within_tie(scores, logits.argmax(-1), bounds.tie)
        step = first_difference(got.tokens, reference.tokens)
        if step is not None and step < len(scores):
            diverged.append(Divergence(i, request[0], step, _margin(scores[step])))
        start = end
    return replace(
        certify(
            references.reference,
            f"{engine} {manifest.precision}",
            len(references.captions),
            tuple(sorted({lang for lang, _ in references.requests})),
            tuple(worst_of(name, found) for name in FLOATS),
            _agreements(bounds, same, len(references.captions), start),
        ),
        divergences=tuple(diverged),
    )


def first_difference(got: list[int], expected: list[int]) -> int | None:
    """The first place where two captions have different tokens, or one has ended; None: equal."""
    if got == expected:
        return None
    pairs = zip(got, expected, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(got), len(expected)))


def worst_of(name: str, found: list[tuple[int, OutputParity]]) -> OutputParity:
    """One output over all scenes."""
    mine = [(i, parity) for i, parity in found if parity.output == name]
    scene, worst = max(mine, key=lambda entry: entry[1].max_abs)
    cosine = min(parity.cosine for _, parity in mine)
    return replace(worst, cosine=cosine, worst=f"scene {scene}, {worst.worst}")


def _margin(scores: np.ndarray) -> float:
    """Best less second best of the logits f32 [V] of one step: nats, as of log-probabilities."""
    second, best = np.partition(scores, -2)[-2:]
    return float(best - second)


def _same_boxes(got: list[list[float]], expected: list[list[float]], min_iou: float) -> bool:
    pairs = zip(got, expected, strict=False)
    return len(got) == len(expected) and all(a == b or iou(a, b) >= min_iou for a, b in pairs)


def _within_tie(expected: np.ndarray, choice: np.ndarray, tie: float) -> int:
    """Of K steps, those whose choice [K] the reference scores [K,V] within `tie` of its best."""
    chosen = np.take_along_axis(expected, choice[:, None], axis=-1)[:, 0]  # [K]
    return int((expected.max(-1) - chosen <= tie).sum())


def _agreements(
    bounds: Bounds, same: Counter[str], scenes: int, steps: int
) -> tuple[AgreementParity, ...]:
    of_steps = {
        "next_token": bounds.next_token,
        "close_logits": bounds.close,
        "close_attention": bounds.close,
    }
    of_scenes = {"tokens": bounds.tokens, "boxes": bounds.boxes, "text": bounds.text}
    return tuple(
        AgreementParity(what, same[what] / of, float(min_iou))
        for required, of in ((of_steps, steps), (of_scenes, scenes))
        for what, min_iou in required.items()
    )
