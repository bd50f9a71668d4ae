"""A run that is over in seconds; its size `tiny` is for `SIZES`."""

from __future__ import annotations

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.train.config import Stage, TrainConfig

TINY = CaptionerConfig(width=32, layers=1, heads=2, embedding=16)
CONFIG = TrainConfig(
    size="tiny",
    stages=(Stage(112, 16, 4, 40, 2, 32), Stage(224, 4, 2, 64, 2, 40)),
    warmup_steps=2,
)
