"""Tiny checkpoints of LLaVA 1.5 and LLaVA-OneVision, in the files that their repositories have.

For `tiny_checkpoints`, which lists them. transformers makes LLaVA-OneVision's processor only where
torchvision is installed, so its two files are written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from tiny_prompted import byte_tokenizer, siglip_vision

# Images first, whatever the order of a message's parts, as both families' repositories have it.
_PARTS = (
    "{%% for c in message['content'] | selectattr('type', 'equalto', 'image') %%}"
    "{{ '<image>\n' }}{%% endfor %%}"
    "{%% for c in message['content'] | selectattr('type', 'equalto', 'text') %%}"
    "{{ %s }}{%% endfor %%}"
)
USERS = (
    "{% for message in messages %}{{ message['role'].upper() + ': '}}"
    + _PARTS % "c['text'] + ' '"
    + "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
TURNS = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    + _PARTS % r"'\n' + c['text']"
    + "{{'<|im_end|>'}}{% endfor %}"
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# What Qwen2's tokenizer has of its own, for text alone.
_TEXT_ONLY = "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}"


def text(kind: str, **more: Any) -> dict[str, Any]:
    return {
        **{"model_type": kind, "vocab_size": 280, "hidden_size": 32, "intermediate_size": 48},
        **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
        **{"max_position_embeddings": 160, "initializer_range": 0.1, **more},
    }


def tower(kind: str) -> dict[str, Any]:
    made = siglip_vision(model_type=f"{kind}_vision_model", num_hidden_layers=3)
    return {**made, **({"vision_use_head": False} if kind == "siglip" else {})}


def _write(directory: Path, name: str, value: dict[str, Any]) -> None:
    (directory / name).write_text(json.dumps(value))


def llama_tokenizer() -> Any:
    """Bytes alone, and a `<s>` that the tokenizer sets before every text."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁"]
    made = transformers.LlamaTokenizer(
        {name: i for i, name in enumerate(names)}, [], add_bos_token=True
    )
    made.add_special_tokens({"pad_token": "<pad>", "extra_special_tokens": ["<image>"]})
    return made


def qwen2_tokenizer(**more: Any) -> Any:
    """Bytes, and tokens of Qwen2's turns; none begins a text."""
    marks = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
    named = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    made = byte_tokenizer(*marks, **named, **more)
    made.add_special_tokens({"extra_special_tokens": list(marks)})
    return made


def llava(directory: Path, vision: str, language: str, **more: Any) -> None:
    """`vision`: clip or siglip, `language`: a `model_type`."""
    if language == "qwen2":
        tokenizer = qwen2_tokenizer()
        ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    else:
        tokenizer = llama_tokenizer()
        ids = {"bos_token_id": 1, "eos_token_id": 2}
        ids["pad_token_id"] = tokenizer.pad_token_id
    template, strategy = (USERS, "default") if vision == "clip" else (TURNS, "full")
    window = {"sliding_window": 128} if language == "mistral" else {}
    config = transformers.LlavaConfig(
        vision_config=tower(vision),
        text_config=text(language, **ids, **window),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_select_strategy=strategy,
        **more,
    )
    transformers.LlavaForConditionalGeneration(config).save_pretrained(directory)
    size: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    kind = "CLIPImageProcessorPil" if vision == "clip" else "LlavaImageProcessorPil"
    transformers.LlavaProcessor(
        getattr(transformers, kind)(**size),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=int(vision == "clip"),
        chat_template=template,
    ).save_pretrained(directory)


def llava_onevision(directory: Path, vision: str, language: str, older: bool, **more: Any) -> None:
    """`older`: files as repositories of 2024 have them, else as transformers 5 saves them."""
    tokenizer = qwen2_tokenizer(chat_template=_TEXT_ONLY if older else TURNS)
    grids = [[32, 32], [32, 64], [64, 32], [64, 64]]
    strategy = "full" if vision == "siglip" else "default"
    config = transformers.LlavaOnevisionConfig(
        vision_config=tower(vision),
        text_config=text(language, bos_token_id=0, eos_token_id=2, pad_token_id=0, **more),
        image_token_index=3,
        video_token_index=4,
        image_grid_pinpoints=grids,
        vision_feature_select_strategy=strategy,
        vision_feature_layer=-1 if vision == "siglip" else [-2, 1],
        multimodal_projector_bias=vision == "siglip",
    )
    transformers.LlavaOnevisionForConditionalGeneration(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    processor = {
        "processor_class": "LlavaOnevisionProcessor",
        **{"image_token": "<image>", "video_token": "<video>", "num_image_tokens": 16},
        "vision_feature_select_strategy": strategy,
    }
    images = transformers.LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32}, image_grid_pinpoints=grids, image_mean=[0.5] * 3
    ).to_dict()
    if older:
        (directory / "chat_template.jinja").unlink()
        file = directory / "tokenizer_config.json"
        _write(directory, file.name, json.loads(file.read_text()) | {"chat_template": _TEXT_ONLY})
        _write(directory, "chat_template.json", {"chat_template": TURNS})
        _write(directory, "preprocessor_config.json", images)
    else:
        processor |= {"image_processor": images}
    _write(directory, "processor_config.json", processor)
