"""Tiny checkpoints with random weights, as transformers saves them.

Two shapes or more per family, always with the same weights. Each maker writes one directory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel


def saved(directory: Path, model: PreTrainedModel, processor: Any, words: int) -> None:
    """The model, its image processor and a word list in `directory`."""
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(words - 5))]
    (directory / "vocab.txt").write_text("".join(f"{name}\n" for name in names))


def square(name: str, side: int) -> Any:
    """An image processor of transformers for images of side x side px."""
    size = {"height": side, "width": side}
    return getattr(transformers, name)(size=size)


def blip(directory: Path, width: int, layers: int, heads: int, side: int, words: int) -> None:
    config = transformers.BlipConfig(
        text_config={
            **{"vocab_size": words, "hidden_size": width, "encoder_hidden_size": 24},
            **{"intermediate_size": 2 * width, "num_hidden_layers": layers},
            **{"num_attention_heads": heads, "max_position_embeddings": 40},
            **{"pad_token_id": 0, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3},
        },
        vision_config={
            **{"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "image_size": side, "patch_size": 8},
        },
        projection_dim=16,
    )
    model = transformers.BlipForConditionalGeneration(config)
    saved(directory, model, square("BlipImageProcessorPil", side), words)


# Per family of the registry: how each of its tiny checkpoints is made.
MAKERS: dict[str, tuple[Callable[[Path], None], ...]] = {
    "blip": (
        lambda d: blip(d, width=32, layers=2, heads=4, side=32, words=97),
        lambda d: blip(d, width=48, layers=3, heads=2, side=40, words=61),
    ),
}


def make(family: str, variant: int, directory: Path) -> Path:
    """A checkpoint of `family` in `directory`."""
    torch.manual_seed(7 + variant)
    MAKERS[family][variant](directory)
    return directory
