"""A checkpoint: weights and optimiser state in safetensors, the run's config and step beside them.

A directory `<run>/` holds `checkpoint.safetensors` (replaced atomically) and `log.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from edgecap.core.atomic import write_file
from edgecap.core.errors import InputError
from edgecap.reference.train.config import TrainConfig

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps."""

    config: TrainConfig
    step: int
    model: dict[str, torch.Tensor]
    optimisers: dict[str, torch.Tensor]
    mean: dict[str, torch.Tensor]  # of the captioner's weights; empty where the run keeps none

    def save(self, run: Path) -> None:
        """Write atomically into the directory `run`."""
        tensors = {f"model/{k}": v.detach().contiguous() for k, v in self.model.items()}
        tensors |= {f"state/{k}": v.detach().contiguous() for k, v in self.optimisers.items()}
        tensors |= {f"mean/{k}": v.detach().contiguous() for k, v in self.mean.items()}
        facts = {"config": json.dumps(self.config.to_dict()), "step": str(self.step)}
        write_file(run / NAME, save(tensors, facts))

    @classmethod
    def load(cls, run: Path) -> Checkpoint:
        """The checkpoint in the directory `run`; InputError where it is missing or invalid."""
        path = run / NAME
        if not path.is_file():
            raise InputError("train.resume", f"{run} holds no {NAME}.", "Run without --resume.")
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            config = TrainConfig.from_dict(json.loads(facts["config"]))
            step = int(facts["step"])
            parts = _sorted(tensors)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError("train.checkpoint", f"{path} cannot be read: {error}.") from None
        return cls(config, step, parts["model"], parts["state"], parts["mean"])


def check_place(run: Path, begun: Collection[str]) -> None:
    """InputError where a new run's directory contains a run already, or other files.

    `begun`: files of a run that ended before its first checkpoint; it may start again.
    """
    if (run / NAME).exists():
        raise InputError(
            "train.exists", f"{run} holds a run already.", "Continue it with --resume, or give -o."
        )
    if run.exists() and (not run.is_dir() or {file.name for file in run.iterdir()} - set(begun)):
        raise InputError(
            "output.foreign",
            f"{run} holds other files than a run's; nothing was changed.",
            "Choose another output directory.",
        )


def _sorted(tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """The file's tensors by part; KeyError for one that belongs to none."""
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "state": {}, "mean": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts[part][name] = tensor
    return parts
