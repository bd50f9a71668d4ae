"""Checkpoints of some megabytes with random weights, where a test compares sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import make_whole

from edgecap.benchmarks import random_checkpoints
from edgecap.models.checkpoint import WEIGHTS, Checkpoint, open_checkpoint


def middling(directory: Path, family: str) -> Checkpoint:
    """A checkpoint of some megabytes, so that weights outweigh names and nodes."""
    import transformers

    make_whole(family, "tiny", directory)
    wide: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4}
    if family == "blip":
        text = {**wide, "vocab_size": 4000, "encoder_hidden_size": 256, "bos_token_id": 2}
        config: Any = transformers.BlipConfig(
            text_config={**text, "num_attention_heads": 4, "sep_token_id": 3},
            vision_config={**wide, "num_attention_heads": 4, "image_size": 32},
        )
        random_checkpoints.write(directory, transformers.BlipForConditionalGeneration, config)
    else:
        text = {**wide, "vocab_size": 4000, "num_attention_heads": 4, "projection_size": 256}
        config = transformers.SiglipConfig(
            text_config={**text, "max_position_embeddings": 16, "pad_token_id": 1},
            vision_config={**wide, "num_attention_heads": 4, "image_size": 32, "patch_size": 8},
        )
        random_checkpoints.write(directory, transformers.SiglipModel, config)
    _unlike_biases(directory / WEIGHTS)
    return open_checkpoint(directory)


def _unlike_biases(file: Path) -> None:
    """No two biases alike, as after training: coremltools 9 cannot round a layer to int8 whose bias
    equals that of a norm, because it stores both once."""
    noise = torch.Generator().manual_seed(5)
    tensors = load_file(file)
    for name, value in tensors.items():
        if name.endswith(".bias"):
            value += 0.02 * torch.randn(value.shape, generator=noise)
    save_file(tensors, file, metadata={"format": "pt"})
