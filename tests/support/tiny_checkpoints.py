"""Tiny checkpoints with random weights, as transformers saves them.

Two shapes or more per family, always with the same weights. Each maker writes one directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_llava import llava, llava_onevision
from tiny_prompted import (
    blip2,
    florence2,
    gemma3,
    idefics3,
    kosmos2,
    paligemma,
    siglip_vision,
    square,
)
from tiny_qwen import qwen
from transformers import PreTrainedModel

from edgecap.models import registry

END = 60  # the end token of the embedders' texts


def saved(directory: Path, model: PreTrainedModel, processor: Any, words: int) -> None:
    """The model, its image processor and a word list in `directory`."""
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(words - 5))]
    (directory / "vocab.txt").write_text("".join(f"{name}\n" for name in names))


def blip(directory: Path, width: int, layers: int, heads: int, side: int, words: int) -> None:
    config = transformers.BlipConfig(
        text_config={
            **{"vocab_size": words, "hidden_size": width, "encoder_hidden_size": 24},
            **{"intermediate_size": 2 * width, "num_hidden_layers": layers},
            **{"num_attention_heads": heads, "max_position_embeddings": 40},
            **{"pad_token_id": 0, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3},
            **{"initializer_range": 0.1},
        },
        vision_config=siglip_vision(image_size=side, initializer_range=0.1),
        projection_dim=16,
    )
    model = transformers.BlipForConditionalGeneration(config)
    saved(directory, model, square("BlipImageProcessorPil", side), words)


def encoder_decoder(
    directory: Path, encoder: Any, decoder: Any, side: int, height: int | None = None
) -> None:
    decoder.is_decoder = decoder.add_cross_attention = True
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 2, 3, 1
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=2, eos_token_id=3, pad_token_id=1
    )
    saved(directory, model, square("ViTImageProcessorPil", side, height), decoder.vocab_size)


def vit(width: int, side: int) -> Any:
    return transformers.ViTConfig(
        hidden_size=width,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=side,
        patch_size=8,
    )


def vit_gpt2(directory: Path, width: int, layers: int, heads: int, side: int) -> None:
    decoder = transformers.GPT2Config(
        **{"vocab_size": 89, "n_positions": 40, "n_embd": width, "n_layer": layers},
        **{"n_head": heads, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1},
    )
    encoder_decoder(directory, vit(24, side), decoder, side)


def trocr(directory: Path, learned: bool) -> None:
    decoder = transformers.TrOCRConfig(
        **{"vocab_size": 71, "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4},
        **{"decoder_ffn_dim": 48, "max_position_embeddings": 40, "cross_attention_hidden_size": 24},
        **{"use_learned_position_embeddings": learned, "scale_embedding": not learned},
        **{"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 3, "init_std": 0.1},
    )
    encoder_decoder(directory, vit(24, 32), decoder, 32)
    # As on the hub: generation_config.json alone says what a text begins with.
    file = directory / "config.json"
    config = json.loads(file.read_text())
    del config["decoder_start_token_id"]
    file.write_text(json.dumps(config))


def donut(directory: Path) -> None:
    encoder = transformers.DonutSwinConfig(
        **{"image_size": [64, 32], "patch_size": 4, "embed_dim": 16, "depths": [2, 2]},
        **{"num_heads": [2, 4], "window_size": 4},
    )
    decoder = transformers.MBartConfig(
        **{"vocab_size": 71, "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4},
        **{"decoder_ffn_dim": 48, "max_position_embeddings": 40, "scale_embedding": True},
        **{"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 3, "init_std": 0.1},
    )
    encoder_decoder(directory, encoder, decoder, 32, height=64)


def git(directory: Path, width: int, layers: int, heads: int, side: int) -> None:
    config = transformers.GitConfig(
        vision_config={
            **{"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "image_size": side, "patch_size": 8},
        },
        **{"vocab_size": 83, "hidden_size": width, "intermediate_size": 2 * width},
        **{"num_hidden_layers": layers, "num_attention_heads": heads},
        **{"max_position_embeddings": 40, "initializer_range": 0.1},
        **{"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0},
    )
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    saved(directory, transformers.GitForCausalLM(config), processor, 83)


def towers(side: int, eos: int) -> dict[str, Any]:
    """Configs of the image and the text tower of CLIP and SigLIP."""
    return {
        "text_config": {
            **{"vocab_size": 61, "hidden_size": 32, "intermediate_size": 48},
            **{"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16},
            **{"bos_token_id": 2, "eos_token_id": eos, "pad_token_id": 1, "projection_size": 24},
        },
        "vision_config": {
            **{"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "image_size": side, "patch_size": 8},
        },
    }


def clip(directory: Path, side: int, eos: int) -> None:
    config = transformers.CLIPConfig(projection_dim=20, **towers(side, eos))
    model = transformers.CLIPModel(config)
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    saved(directory, model, processor, 61)


def siglip(directory: Path, side: int) -> None:
    model = transformers.SiglipModel(transformers.SiglipConfig(**towers(side, 3)))
    saved(directory, model, square("SiglipImageProcessorPil", side), 61)


# Per family of the registry: how each of its tiny checkpoints is made.
MAKERS: dict[str, dict[str, Callable[[Path], None]]] = {
    "blip": {
        "tiny": lambda d: blip(d, width=32, layers=2, heads=4, side=32, words=97),
        "wide": lambda d: blip(d, width=48, layers=3, heads=2, side=40, words=61),
    },
    "blip-2": {
        "tiny": lambda d: blip2(d, before=True),
        "norms-behind": lambda d: blip2(d, before=False),
    },
    "vision-encoder-decoder": {
        "gpt2": lambda d: vit_gpt2(d, width=24, layers=2, heads=2, side=32),
        "gpt2-wide": lambda d: vit_gpt2(d, width=32, layers=3, heads=4, side=40),
        "trocr": lambda d: trocr(d, learned=True),
        "trocr-sinusoids": lambda d: trocr(d, learned=False),
        "donut": donut,
    },
    "git": {
        "tiny": lambda d: git(d, width=32, layers=2, heads=4, side=32),
        "wide": lambda d: git(d, width=48, layers=3, heads=2, side=48),
    },
    "florence2": {"tiny": florence2},
    "kosmos-2": {"tiny": kosmos2},
    "idefics3": {
        "tiny": lambda d: idefics3(d, "Idefics3"),
        "crops": lambda d: idefics3(d, "Idefics3", longest=2),
    },
    "smolvlm": {
        "tiny": lambda d: idefics3(d, "SmolVLM"),
        "crops": lambda d: idefics3(d, "SmolVLM", longest=3),
    },
    "paligemma": {
        "one-kv-head": lambda d: paligemma(d, "gemma", kv_heads=1),
        "gemma2": lambda d: paligemma(d, "gemma2", kv_heads=2),
    },
    "gemma3": {"tiny": gemma3},
    "llava": {
        "tiny": lambda d: llava(d, "clip", "llama", older=True),
        "mistral": lambda d: llava(d, "clip", "mistral", vision_feature_layer=[-2, -1]),
        "qwen2": lambda d: llava(d, "siglip", "qwen2", projector_hidden_act="relu"),
    },
    "llava_onevision": {
        "tiny": lambda d: llava_onevision(
            d, "siglip", "qwen2", older=True, tie_word_embeddings=True
        ),
        "two-layers": lambda d: llava_onevision(d, "clip", "llama"),
    },
    "qwen2_vl": {
        "tiny": lambda d: qwen(d, "Qwen2VL", tie=True),
        "one-kv-head": lambda d: qwen(d, "Qwen2VL", heads=1, hub=False, most=24),
    },
    "qwen2_5_vl": {
        "tiny": lambda d: qwen(d, "Qwen2_5_VL", repetition_penalty=1.05),
        "one-window": lambda d: qwen(d, "Qwen2_5_VL", tie=True, hub=False, most=24),
    },
    "qwen3_vl": {
        "tiny": lambda d: qwen(d, "Qwen3VL", hub=False),
        "tied": lambda d: qwen(d, "Qwen3VL", tie=True, heads=4, hub=False, most=24),
    },
    "clip": {
        "tiny": lambda d: clip(d, side=32, eos=60),
        "old-eos": lambda d: clip(d, side=40, eos=2),
    },
    "siglip": {"tiny": lambda d: siglip(d, side=32), "wide": lambda d: siglip(d, side=48)},
}


# The first variant of every family that captions but BLIP, which more tests look at.
OTHER_CAPTIONERS = [
    (family, next(iter(MAKERS[family])))
    for family, row in registry.FAMILIES.items()
    if row.captions and family != "blip"
]


# Not exported by tests, which takes seconds: the same code as another, in other sizes.
EAGER_ONLY = {
    ("blip", "wide"),
    ("blip-2", "norms-behind"),
    ("vision-encoder-decoder", "gpt2-wide"),
    ("vision-encoder-decoder", "trocr-sinusoids"),
    ("git", "wide"),
    ("smolvlm", "tiny"),
    ("smolvlm", "crops"),
    ("llava", "mistral"),
    ("llava", "qwen2"),
    ("llava_onevision", "two-layers"),
    ("qwen2_vl", "one-kv-head"),
    ("qwen2_5_vl", "one-window"),
    ("qwen3_vl", "tied"),
    ("clip", "old-eos"),
    ("siglip", "wide"),
}


# Exported by `make check-full` only: `make test` exports one of each family.
FULL_ONLY = {
    ("vision-encoder-decoder", "trocr"),
    ("vision-encoder-decoder", "donut"),
    ("paligemma", "gemma2"),
    ("idefics3", "tiny"),  # "crops" does the same and more
    ("llava", "tiny"),  # LLaVA-OneVision's adapter is a subclass of its
    ("llava", "mistral"),
    ("llava_onevision", "two-layers"),
    ("qwen2_vl", "tiny"),  # Qwen2.5-VL's adapter is a subclass of its
}


def make(family: str, variant: str, directory: Path) -> Path:
    """A checkpoint of `family` in `directory`."""
    torch.manual_seed(7)
    MAKERS[family][variant](directory)
    return directory


def make_whole(family: str, variant: str, directory: Path) -> Path:
    """As `make`, with the tokenizer.json that a hub's copy of such a checkpoint has."""
    make(family, variant, directory)
    words = directory / "vocab.txt"
    if words.is_file() and not (directory / "tokenizer.json").exists():
        transformers.BertTokenizerFast(str(words)).save_pretrained(directory)
    return directory
