"""How many pieces a batch must be cut into to fit the memory there is."""

from __future__ import annotations

import torch

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.train.config import Stage
from edgecap.runtime import memory

_SHARE = 0.6  # of what is free; the rest is for optimisers, fragments and other programs
# Bytes a token leaves for the backward pass, per layer and unit of width: 14 bf16 activations, and
# as much again for autocast copies (measured on S: 110 kB a token).
_PER_UNIT = 56
_PER_LOGIT = 10  # bf16 logits, their float copy and its gradient


def free_bytes(device: torch.device) -> int:
    """Memory that may still be used: of the GPU, or of the machine and its control group."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    return memory.free_bytes()


def step_bytes(config: CaptionerConfig, stage: Stage) -> int:
    """An estimate of what one step's activations take."""
    patches = (stage.window // config.patch_size) ** 2
    words = stage.batch * stage.caption_tokens
    text = stage.text_tokens + (stage.claims + stage.parts) * stage.claim_tokens
    tokens = stage.batch * patches + words + 2 * stage.texts * text
    activations = tokens * config.layers * config.width * _PER_UNIT
    return activations + words * config.vocabulary * _PER_LOGIT


def parts_that_fit(config: CaptionerConfig, stage: Stage, free: int) -> int:
    """The fewest parts, a power of two that divides the stage's texts, whose steps fit `free`."""
    parts = 1
    while step_bytes(config, stage) / parts > _SHARE * free and stage.texts % (2 * parts) == 0:
        parts *= 2
    return parts
