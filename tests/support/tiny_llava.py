"""Tiny checkpoints of LLaVA 1.5 and LLaVA-OneVision, in the files that their repositories have.

For `tiny_checkpoints`, which lists them. transformers makes LLaVA-OneVision's processor only where
torchvision is installed, so what one would save is written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import load_file, save_file
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
    + "{% if message['role'] != 'assistant' %}"
    + _PARTS % "c['text'] + ' '"
    + "{% else %}{% generation %}{{ message['content'] }}{% endgeneration %}{% endif %}"
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


def _save(
    directory: Path,
    model: Any,
    images: Any,
    tokenizer: Any,
    template: str,
    older: bool,
    **more: Any,
) -> None:
    """`more`: settings of the processor. `older`: as it was before transformers 5."""
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    files: dict[str, Any] = {"processor_config.json": {**more, "image_token": "<image>"}}
    if older:
        own = directory / "chat_template.jinja"  # of the tokenizer alone
        if own.exists():
            config = json.loads((directory / "tokenizer_config.json").read_text())
            files["tokenizer_config.json"] = {**config, "chat_template": own.read_text()}
            own.unlink()
        files["chat_template.json"] = {"chat_template": template}
        files["preprocessor_config.json"] = images.to_dict()
        weights = directory / "model.safetensors"
        tensors = load_file(weights)
        old = {
            name.replace("vision_tower.", "vision_tower.vision_model."): tensor
            for name, tensor in tensors.items()
        }
        save_file(old, weights, metadata={"format": "pt"})
    else:
        files["processor_config.json"]["image_processor"] = images.to_dict()
        (directory / "chat_template.jinja").write_text(template)
    for name, value in files.items():
        (directory / name).write_text(json.dumps(value))


def llava(directory: Path, vision: str, language: str, older: bool = False, **more: Any) -> None:
    """`vision`: clip or siglip, `language`: a `model_type`."""
    tokenizer = qwen2_tokenizer() if language == "qwen2" else llama_tokenizer()
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
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
    kind = "CLIPImageProcessorPil" if vision == "clip" else "LlavaImageProcessorPil"
    images = getattr(transformers, kind)(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    model = transformers.LlavaForConditionalGeneration(config)
    processor = {
        **{"processor_class": "LlavaProcessor", "patch_size": 8},
        **{"vision_feature_select_strategy": strategy},
        **{"num_additional_image_tokens": int(vision == "clip")},
    }
    _save(directory, model, images, tokenizer, template, older, **processor)


def llava_onevision(
    directory: Path, vision: str, language: str, older: bool = False, **more: Any
) -> None:
    """`vision` and `language` as of `llava`; `more`: of the language model."""
    tokenizer = qwen2_tokenizer(chat_template=_TEXT_ONLY) if older else qwen2_tokenizer()
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
    images = transformers.LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32}, image_grid_pinpoints=grids, image_mean=[0.5] * 3
    )
    model = transformers.LlavaOnevisionForConditionalGeneration(config)
    processor = {
        **{"processor_class": "LlavaOnevisionProcessor", "num_image_tokens": 16},
        **{"vision_feature_select_strategy": strategy, "video_token": "<video>"},
    }
    _save(directory, model, images, tokenizer, TURNS, older, **processor)
