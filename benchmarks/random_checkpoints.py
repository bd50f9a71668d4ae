"""Checkpoints of true shape with random weights, written a block at a time: for measurements only.

Norms are 1 and biases 0, as models are initialised; everything else is normal noise, the same on
every run. Letters: N rows, the first axis of a parameter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_ELEMENTS = 4 << 20
SPREAD = 0.02  # of the noise; transformers' usual initializer_range
SMALL_SPREAD = 0.06  # of narrow models, whose signals would die away otherwise


def blip_base(directory: Path) -> None:
    """Salesforce/blip-image-captioning-base: 224 M parameters, 384 px."""
    _blip(directory, 768, 12)


def blip_100m(directory: Path) -> None:
    """The same, two thirds as wide: 105 M parameters."""
    _blip(directory, 512, 8)


def _blip(directory: Path, width: int, heads: int) -> None:
    import transformers

    both = {
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }
    config = transformers.BlipConfig(
        text_config={**both, "encoder_hidden_size": width, "vocab_size": 30524},
        vision_config={**both, "image_size": 384},
    )
    write(directory, transformers.BlipForConditionalGeneration, config)
    size = {"height": 384, "width": 384}
    transformers.BlipImageProcessorPil(size=size).save_pretrained(directory)
    _word_list(directory, config.text_config.vocab_size)


def blip_small(directory: Path) -> None:
    """A BLIP of 8 M parameters, 96 px."""
    import transformers

    text = {"hidden_size": 256, "encoder_hidden_size": 256, "intermediate_size": 1024}
    text |= {"num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 2000}
    text |= {"bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    vision = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4}
    vision |= {"num_attention_heads": 4, "image_size": 96, "patch_size": 16}
    config = transformers.BlipConfig(text_config=text, vision_config=vision)
    write(directory, transformers.BlipForConditionalGeneration, config, SMALL_SPREAD)
    size = {"height": 96, "width": 96}
    transformers.BlipImageProcessorPil(size=size).save_pretrained(directory)
    _word_list(directory, 2000)


def git_small(directory: Path) -> None:
    """A GIT of 8 M parameters, 96 px."""
    import transformers

    vision = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4}
    vision |= {"num_attention_heads": 4, "image_size": 96, "patch_size": 16}
    config = transformers.GitConfig(
        vision_config=vision,
        **{"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4},
        **{"num_attention_heads": 4, "vocab_size": 2000, "max_position_embeddings": 64},
        **{"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0},
    )
    write(directory, transformers.GitForCausalLM, config, SMALL_SPREAD)
    size = {"height": 96, "width": 96}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 96}, crop_size=size).save_pretrained(
        directory
    )
    _word_list(directory, 2000)


def _word_list(directory: Path, size: int) -> None:
    """A tokenizer of `size` made-up words."""
    from transformers import BertTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*names, *(f"w{i}" for i in range(size - len(names)))]
    (directory / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    BertTokenizerFast(str(directory / "vocab.txt")).save_pretrained(directory)


def kosmos_2(directory: Path) -> None:
    """microsoft/kosmos-2-patch14-224: 1664 M parameters, 224 px; its tokenizer knows bytes only."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    config = transformers.Kosmos2Config()
    write(directory, transformers.Kosmos2ForConditionalGeneration, config)
    marks = ["<image>", "</image>", "<phrase>", "</phrase>", "<object>", "</object>", "<grounding>"]
    marks += ["</delimiter_of_multi_objects/>", "<patch_index_0000>"]
    words = ["<s>", "<pad>", "</s>", "<unk>", *marks]
    words += sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}
    )
    transformers.Kosmos2Processor(images, tokenizer, num_patch_index_tokens=1).save_pretrained(
        directory
    )


MAKERS: dict[str, Callable[[Path], None]] = {
    "blip-base": blip_base,
    "blip-100m": blip_100m,
    "kosmos-2": kosmos_2,
}
SMALL: dict[str, Callable[[Path], None]] = {"blip-small": blip_small, "git-small": git_small}


def write(directory: Path, architecture: type, config: Any, spread: float = SPREAD) -> None:
    """config.json and one float32 safetensors file of a model that is never in memory."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    config.architectures = [architecture.__name__]
    config.save_pretrained(directory)
    with torch.device("meta"):
        model = architecture(config)
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    write_safetensors(directory / "model.safetensors", shapes, spread)


def write_safetensors(
    file: Path, shapes: Mapping[str, tuple[int, ...]], spread: float = SPREAD
) -> None:
    """A safetensors file of these float32 tensors."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(7)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            for block in _values(name, math.prod(shape), rng, spread):
                opened.write(block.tobytes())


def _values(
    name: str, elements: int, rng: np.random.Generator, spread: float
) -> Iterator[np.ndarray]:
    for start in range(0, elements, BLOCK_ELEMENTS):
        count = min(BLOCK_ELEMENTS, elements - start)
        if name.endswith(".bias"):
            yield np.zeros(count, np.float32)
        elif "norm" in name.lower() or name.rpartition(".")[0].endswith("_ln"):
            yield np.ones(count, np.float32)
        else:
            yield rng.standard_normal(count, np.float32) * np.float32(spread)
