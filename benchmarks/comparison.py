"""The results of `edgecap compare` for two captioners, A and B.

    outputs   cosine of embeddings, logits (less their mean) and attention maps, mean and smallest;
              largest difference
    tokens    steps of A's captions with the same best next token
    boxes     IoU of the things that both captions name, matched one to one
    captions  scenes with equal text; with equal tokens, boxes included

K steps along A's caption of one scene, M steps of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecap.benchmarks.divergence import Divergence
from edgecap.runtime.captions import Caption


@dataclass(frozen=True)
class Forced:
    """One scene along A's caption: K steps."""

    same: np.ndarray  # bool [K], the best next token is the same
    logits: np.ndarray  # f32 [K], cosine
    apart: np.ndarray  # f32 [K], largest absolute difference of the logits
    attention: np.ndarray  # f32 [K], cosine of the maps over the image


@dataclass(frozen=True)
class SceneComparison:
    """One scene; `captions` are A's and B's."""

    index: int
    captions: tuple[Caption, Caption]
    image_cosine: float | None  # None: the embedding widths differ
    text_cosine: float | None  # of A's words
    forced: Forced
    ious: tuple[float, ...]  # of the boxes of things that both name
    named: int  # things that either names

    @property
    def same_words(self) -> bool:
        return self.captions[0].text == self.captions[1].text

    @property
    def first_difference(self) -> int | None:
        """The first token, counted from 0, in which the captions differ; None: in none."""
        a, b = (caption.tokens for caption in self.captions)
        if a == b:
            return None
        pairs = zip(a, b, strict=False)
        return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))

    @property
    def agreement(self) -> float:
        """0-1: IoU summed over shared things by things that either names; the ranking of scenes."""
        return sum(self.ious) / self.named if self.named else float(self.same_words)

    def to_json(self) -> dict[str, Any]:
        a, b = self.captions
        return {
            "scene": self.index,
            "lang": a.lang,
            "agreement": self.agreement,
            "a": a.raw,
            "b": b.raw,
            "top1": float(self.forced.same.mean()),
            "first_difference": self.first_difference,
            "logits_max_abs": float(self.forced.apart.max()),
        }


@dataclass(frozen=True)
class Comparison:
    """All scenes, and where the two diverge; no `layers` where their caches differ in shape."""

    names: tuple[str, str]
    scenes: tuple[SceneComparison, ...]
    layers: tuple[Divergence, ...]

    def worst(self, number: int) -> list[SceneComparison]:
        """The scenes that agree least, those with equal captions left out."""
        differing = [one for one in self.scenes if one.first_difference is not None]
        return sorted(differing, key=lambda one: (one.agreement, -one.forced.apart.max()))[:number]

    def figures(self) -> dict[str, Any]:
        """All figures as JSON values; None where there was nothing to measure."""
        scenes = self.scenes
        ious = np.array([value for one in scenes for value in one.ious])
        differences = [d for one in scenes if (d := one.first_difference) is not None]
        same = np.concatenate([one.forced.same for one in scenes])  # [M]
        cosines = {
            "image_embedding_cosine": [one.image_cosine for one in scenes],
            "text_embedding_cosine": [one.text_cosine for one in scenes],
            "logits_cosine": [v for one in scenes for v in one.forced.logits],
            "attention_cosine": [v for one in scenes for v in one.forced.attention],
        }
        return {
            "scenes": len(scenes),
            "steps": len(same),
            **{name: _mean_and_least(values) for name, values in cosines.items()},
            "logits_max_abs": float(max(one.forced.apart.max() for one in scenes)),
            "top1": float(same.mean()),
            "first_difference": {
                "earliest": min(differences, default=None),
                "median": float(np.median(differences)) if differences else None,
            },
            "boxes": len(ious),
            "iou": float(ious.mean()) if len(ious) else None,
            "iou_50": float((ious >= 0.5).mean()) if len(ious) else None,
            "iou_90": float((ious >= 0.9).mean()) if len(ious) else None,
            "same_words": float(np.mean([one.same_words for one in scenes])),
            "same_caption": float(np.mean([one.first_difference is None for one in scenes])),
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "a": self.names[0],
            "b": self.names[1],
            **self.figures(),
            "layers": {one.function: one.to_json() for one in self.layers},
            "worst": [one.to_json() for one in self.worst(len(self.scenes))],
        }


def _mean_and_least(values: Sequence[float | None]) -> dict[str, float] | None:
    measured = [value for value in values if value is not None]
    if not measured:
        return None
    return {"mean": float(np.mean(measured)), "least": float(min(measured))}
