"""A checkpoint: weights and optimiser state in safetensors, the run's config and step beside them.

A directory `<run>/` holds `checkpoint.safetensors` (replaced atomically) and `log.jsonl`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from edgecap.core.errors import InputError
from edgecap.train.config import TrainConfig

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands after `step` steps."""

    config: TrainConfig
    step: int
    model: dict[str, torch.Tensor]
    optimisers: dict[str, torch.Tensor]

    def save(self, run: Path) -> None:
        """Write into the directory `run`; a kill leaves the old checkpoint or the new one."""
        tensors = {f"model/{k}": v.detach().contiguous() for k, v in self.model.items()}
        tensors |= {f"state/{k}": v.detach().contiguous() for k, v in self.optimisers.items()}
        facts = {"config": json.dumps(self.config.to_dict()), "step": str(self.step)}
        partial = run / (NAME + ".partial")
        save_file(tensors, partial, metadata=facts)
        os.replace(partial, run / NAME)

    @classmethod
    def load(cls, run: Path) -> Checkpoint:
        """The checkpoint in the directory `run`; InputError where there is none or it is bad."""
        path = run / NAME
        if not path.is_file():
            raise InputError("train.resume", f"{run} holds no {NAME}.", "Run without --resume.")
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            config = TrainConfig.from_dict(json.loads(facts["config"]))
            step = int(facts["step"])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError("train.checkpoint", f"{path} cannot be read: {error}.") from None
        return cls(
            config,
            step,
            {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")},
            {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")},
        )
