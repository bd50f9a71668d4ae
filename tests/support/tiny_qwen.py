"""Tiny checkpoints of Qwen's vision language models, laid out as repositories of the hub are.

For `tiny_checkpoints`, which lists them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers

MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
MARKS += ("<|image_pad|>", "<|video_pad|>")
PAD, END, IMAGE, VIDEO = 256, 258, 261, 262  # behind a token per byte
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
CHAT = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "[SYSTEM]{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Per kind: of the image encoder, of the language model, of its rotation.
VISION: dict[str, dict[str, Any]] = {
    "Qwen2VL": {"embed_dim": 24, "hidden_size": 32, "mlp_ratio": 2},
    "Qwen2_5_VL": {
        **{"hidden_size": 24, "out_hidden_size": 32, "intermediate_size": 44},
        **{"window_size": 16, "fullatt_block_indexes": [1]},
    },
    "Qwen3VL": {
        **{"hidden_size": 24, "out_hidden_size": 32, "intermediate_size": 44, "depth": 3},
        **{"num_position_embeddings": 25, "deepstack_visual_indexes": [0, 2]},
    },
}
TEXT: dict[str, dict[str, Any]] = {
    # The last layer gets no features of the image encoder.
    "Qwen3VL": {"head_dim": 16, "num_hidden_layers": 3}
}


def tokenizer(chat: str) -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = transformers.Qwen2Tokenizer(
        vocab={letter: i for i, letter in enumerate(letters)},
        merges=[],
        unk_token=None,
        chat_template=chat,
    )
    made.add_special_tokens({"extra_special_tokens": list(MARKS)})
    return made


def qwen(
    directory: Path,
    kind: str,
    *,
    tie: bool = False,
    heads: int = 2,
    hub: bool = True,
    most: int = 32,
    **settings: Any,
) -> None:
    """`heads`: of keys and values. `hub`: settings of the language model lie at the top of
    config.json, and the template in a file of its own. `most`: px, the largest side."""
    kind_of_text = TEXT.get(kind, {})
    width = kind_of_text.get("head_dim", 8)
    rope = {"type": "mrope", "mrope_section": [width // 4, width // 8, width // 8]}
    if kind == "Qwen3VL":
        rope = {"rope_type": "default", "mrope_interleaved": True, **rope}
        del rope["type"]
    config = getattr(transformers, f"{kind}Config")(
        text_config={
            **{"vocab_size": 280, "hidden_size": 32, "intermediate_size": 48},
            **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": heads},
            **{"max_position_embeddings": 300, "initializer_range": 0.1},
            **{"rope_theta": 10000.0, "rope_scaling": rope, **kind_of_text},
            **{"bos_token_id": PAD, "eos_token_id": END},
        },
        vision_config={
            **{"depth": 2, "num_heads": 2, "patch_size": 4, "initializer_range": 0.1},
            **VISION[kind],
        },
        **{"image_token_id": IMAGE, "video_token_id": VIDEO, "tie_word_embeddings": tie},
        **{"vision_start_token_id": 259, "vision_end_token_id": 260},
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config)
    with torch.no_grad():
        for parameter in model.parameters():  # norms are 1 and biases 0 when new
            if parameter.ndim == 1:
                parameter += torch.randn_like(parameter) / 10
    model.generation_config = transformers.GenerationConfig(
        **{"bos_token_id": PAD, "pad_token_id": PAD, "eos_token_id": [END, PAD]},
        **{"do_sample": True, "top_k": 1, "top_p": 0.001, "temperature": 0.01, **settings},
    )
    model.save_pretrained(directory, max_shard_size="60KB")
    chat = CHAT.replace("[SYSTEM]", "" if kind == "Qwen3VL" else SYSTEM)
    tokenizer(chat).save_pretrained(directory)
    transformers.Qwen2VLImageProcessorPil(
        size={"shortest_edge": 16 * 16, "longest_edge": most * most},
        **{"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2},
    ).save_pretrained(directory)
    if hub:
        as_on_the_hub(directory, chat)


def as_on_the_hub(directory: Path, chat: str) -> None:
    """Older repositories: one level of settings, and names of before transformers 5."""
    file = directory / "config.json"
    config = json.loads(file.read_text())
    config |= {key: value for key, value in config.pop("text_config").items() if key not in config}
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    del config["layer_types"]
    file.write_text(json.dumps(config))
    (directory / "chat_template.jinja").unlink(missing_ok=True)
    (directory / "chat_template.json").write_text(json.dumps({"chat_template": chat}))
    file = directory / "preprocessor_config.json"
    images = json.loads(file.read_text())
    size = images.pop("size")
    images |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    images["image_processor_type"] = "Qwen2VLImageProcessor"
    file.write_text(json.dumps(images))
