"""How many parts a batch must be split into to fit the available memory."""

from __future__ import annotations

import torch

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.train.config import Stage
from edgecap.runtime import memory

_SHARE = 0.6  # of the free memory; the rest is for optimisers, fragmentation and other programs
# Bytes kept per token for the backward pass, per layer and unit of width: 14 bf16 activations, and
# as much again for autocast copies (measured on S: 110 kB per token).
_PER_UNIT = 56
_PER_LOGIT = 10  # bf16 logits, their float copy and its gradient


def free_bytes(device: torch.device) -> int:
    """Free memory of the GPU, or of the machine and its control group, bytes."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    return memory.free_bytes()


def step_bytes(config: CaptionerConfig, stage: Stage) -> int:
    """Estimated size of one step's activations, bytes."""
    patches = (stage.window // config.patch_size) ** 2
    words = stage.batch * stage.caption_tokens
    text = stage.text_tokens + (stage.claims + stage.parts) * stage.claim_tokens
    tokens = stage.batch * patches + words + 2 * stage.texts * text
    activations = tokens * config.layers * config.width * _PER_UNIT
    return activations + words * config.vocabulary * _PER_LOGIT


def parts_that_fit(config: CaptionerConfig, stage: Stage, free: int) -> int:
    """The least power of two that divides the stage's texts and makes parts fit in `free` bytes."""
    parts = 1
    while step_bytes(config, stage) / parts > _SHARE * free and stage.texts % (2 * parts) == 0:
        parts *= 2
    return parts
