"""Models and arms of ablations that are small enough for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

import torch

from edgecap.benchmarks.reference.ablations import NAMES
from edgecap.benchmarks.reference.ablations.experiment import SMALL, SMALL_RUN, Ablation, Arm
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.model.captioner import CaptionModel
from edgecap.reference.train.config import Stage

Build = Callable[[CaptionerConfig], CaptionModel]  # as of an arm

TINY = CaptionerConfig(width=16, layers=8, heads=2, embedding=8, text_length=8)
TINY_ARM = Arm(
    "tiny",
    replace(SMALL, width=16, layers=2, embedding=8),
    replace(SMALL_RUN, stages=(Stage(112, 32, 8, 40, 4, 32, ("en",)),), warmup_steps=1),
)
ABLATIONS: dict[str, Ablation] = {
    name: import_module(f"edgecap.benchmarks.reference.ablations.{name}").ABLATION for name in NAMES
}


def built(build: Build, config: CaptionerConfig = TINY) -> CaptionModel:
    torch.manual_seed(3)
    return build(config).eval()


def images(n: int, side: int = 224) -> torch.Tensor:
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8)
