"""PyTorch's outputs on the gate's scenes: the process with torch writes, the one without reads.

N scenes, M steps of all scenes; the others as in bundle/interface.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BY_HEAD = "by_head.npy"
FLOATS = ("image_embedding", "text_embedding", "logits", "attention")
REST = "references.json"


@dataclass(frozen=True)
class ReferenceCaption:
    """The greedy caption of one scene."""

    tokens: list[int]  # without <eos>
    text: str
    boxes: list[list[float]]  # x0 y0 x1 y1, px of the model_input


@dataclass(frozen=True)
class ReferenceOutputs:
    """PyTorch's outputs on N scenes; the arrays lie in files of the same names."""

    reference: str  # e.g. "torch 2.13.0 fp32"
    requests: list[tuple[str, str]]  # N of (lang, style)
    captions: list[ReferenceCaption]  # N
    model_input: np.ndarray  # uint8 [N,S,S,3]
    image_embedding: np.ndarray  # f32 [N,E]
    text_embedding: np.ndarray  # f32 [N,E], of the captions' texts
    logits: np.ndarray  # f32 [M,V], along the reference's own tokens, <eos> included
    attention: np.ndarray  # f32 [M,P]
    by_head: np.ndarray | None = None  # f32 [M',L,H,P] of some scenes: see parity.attention

    @property
    def spread(self) -> float:
        """The unit of differences between logits: see `spread_of`."""
        return spread_of(self.logits)

    def write(self, directory: Path) -> None:
        """Write everything into an empty directory."""
        for name in ("model_input", *FLOATS):
            np.save(directory / f"{name}.npy", getattr(self, name), allow_pickle=False)
        if self.by_head is not None:
            np.save(directory / BY_HEAD, self.by_head, allow_pickle=False)
        captions = [vars(caption) for caption in self.captions]
        rest = {"reference": self.reference, "requests": self.requests, "captions": captions}
        (directory / REST).write_text(json.dumps(rest), encoding="utf-8")

    @staticmethod
    def load(directory: Path) -> ReferenceOutputs:
        """What `write` wrote; the arrays stay on disk until they are looked at."""
        arrays: dict[str, Any] = {
            name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("model_input", *FLOATS)
        }
        if (directory / BY_HEAD).exists():
            arrays["by_head"] = np.load(directory / BY_HEAD, mmap_mode="r", allow_pickle=False)
        rest = json.loads((directory / REST).read_text(encoding="utf-8"))
        requests = [(lang, style) for lang, style in rest["requests"]]
        captions = [ReferenceCaption(**caption) for caption in rest["captions"]]
        return ReferenceOutputs(rest["reference"], requests, captions, **arrays)


def spread_of(logits: np.ndarray) -> float:
    """Standard deviation of the rows of logits f32 […,V], each less its mean.

    A difference of 0.1 is nothing where scores range over hundreds and everything where they range
    over one; and no probability depends on what all scores of a row share.
    """
    rows = np.asarray(logits, np.float32)
    return float(np.sqrt(np.mean(rows.var(-1, dtype=np.float64))))
