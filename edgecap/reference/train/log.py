"""The log of a run: log.jsonl, a row every few steps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from torch import Tensor

from edgecap.core.atomic import write_file
from edgecap.reference.train.config import TrainConfig

LOG = "log.jsonl"
EVERY = 20  # steps


def cut_log(path: Path, step: int) -> None:
    """Drop the rows after `step`: those steps will be repeated and logged again."""
    if path.exists():
        kept = (row for row in read_log(path) if row["step"] <= step)
        write_file(path, "".join(json.dumps(row) + "\n" for row in kept).encode())


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a run's log; an incomplete last line is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class Log:
    """Means over EVERY steps, one JSON line each."""

    def __init__(self, file: TextIO | None, config: TrainConfig) -> None:
        self.file, self.config = file, config
        self._restart()

    def _restart(self) -> None:
        self.clock, self.steps, self.images = time.monotonic(), 0, 0
        self.sums: dict[str, Tensor | float] = {}

    def add(self, step: int, means: Mapping[str, Tensor], images: int) -> None:
        """Add one step; writes a row every EVERY steps. The scalar means are read only then."""
        self.steps, self.images = self.steps + 1, self.images + images
        for name, mean in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + mean
        if (step + 1) % EVERY:
            return
        row = {
            "step": step + 1,
            "window": self.config.stage(step).window,
            **{
                f"{name}_loss": round(float(total) / self.steps, 4)
                for name, total in self.sums.items()
            },
            "rate": round(self.config.rate(step), 4),
            "images_per_s": round(self.images / (time.monotonic() - self.clock), 1),
        }
        if self.file:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        self._restart()
