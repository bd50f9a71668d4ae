"""A model whose parameters are shapes alone: how a graph larger than memory is traced."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from edgecap.models.checkpoint import Checkpoint


def build(model: type[PreTrainedModel], checkpoint: Checkpoint) -> PreTrainedModel:
    """The model of a checkpoint with fake parameters; its buffers are real."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    register = nn.Module.register_parameter

    def register_fake(module: nn.Module, name: str, value: Any) -> None:
        if value is not None:
            value = nn.Parameter(fake.from_tensor(value.detach()), requires_grad=False)
        register(module, name, value)

    nn.Module.register_parameter = register_fake  # type: ignore[method-assign]
    try:
        with no_init_weights(), torch.no_grad():
            made = model(AutoConfig.from_pretrained(checkpoint.directory))
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
    made.tie_weights()
    return made
