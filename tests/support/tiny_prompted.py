"""Tiny checkpoints of the families whose processor writes a prompt around the image.

For `tiny_checkpoints`, which lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers


def square(name: str, side: int, height: int | None = None) -> Any:
    """An image processor of transformers for images of side x side px, or of another height."""
    size = {"height": height or side, "width": side}
    return getattr(transformers, name)(size=size)


def byte_tokenizer(*specials: str, **named: str) -> Any:
    """An untrained byte-level tokenizer: special tokens first, then one token per byte."""
    words = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    extra = {
        name: named.pop(name)
        for name in list(named)
        if name in ("image_token", "boi_token", "eoi_token")
    }
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, extra_special_tokens=extra, **named
    )


def florence2(directory: Path) -> None:
    tokenizer = byte_tokenizer(
        *("<s>", "<pad>", "</s>", "<unk>", "<image>"),
        **{"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
        image_token="<image>",
    )
    config = transformers.Florence2Config(
        vision_config={
            **{"depths": [1, 1], "embed_dim": [16, 24], "num_heads": [2, 2], "num_groups": [2, 2]},
            **{"patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1]},
            **{"patch_prenorm": [False, True], "window_size": 4, "projection_dim": 32},
        },
        text_config={
            **{"model_type": "bart", "vocab_size": 280, "d_model": 32, "init_std": 0.1},
            **{"encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": 80},
            **{"encoder_attention_heads": 4, "decoder_attention_heads": 4},
            **{"encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
            **{"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2},
            **{"decoder_start_token_id": 2, "forced_eos_token_id": None},
        },
        image_token_id=4,
    )
    model = transformers.Florence2ForConditionalGeneration(config)
    images = transformers.CLIPImageProcessorPil(
        size={"height": 32, "width": 32}, do_center_crop=False, image_seq_length=17
    )
    model.save_pretrained(directory)
    transformers.Florence2Processor(images, tokenizer).save_pretrained(directory)


def kosmos2(directory: Path) -> None:
    marks = ("<image>", "</image>", "<phrase>", "</phrase>", "<object>", "</object>", "<grounding>")
    marks += ("</delimiter_of_multi_objects/>", "<patch_index_0000>")
    tokenizer = byte_tokenizer(
        *("<s>", "<pad>", "</s>", "<unk>", *marks),
        **{"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    )
    config = transformers.Kosmos2Config(
        text_config={
            **{"vocab_size": 300, "embed_dim": 32, "layers": 2, "attention_heads": 4},
            **{"ffn_dim": 48, "max_position_embeddings": 96, "init_std": 0.1},
        },
        vision_config={
            **{"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        },
        latent_query_num=6,
    )
    transformers.Kosmos2ForConditionalGeneration(config).save_pretrained(directory)
    images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    transformers.Kosmos2Processor(images, tokenizer, num_patch_index_tokens=1).save_pretrained(
        directory
    )


CHAT = (
    "<|im_start|>{% for m in messages %}User:{% for c in m.content %}"
    "{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}Assistant:"
)


def siglip_vision(**more: Any) -> dict[str, Any]:
    return {
        **{"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "image_size": 32, "patch_size": 8, **more},
    }


def idefics3(directory: Path, kind: str, longest: int = 1) -> None:
    """`longest`: crops along the longer edge; 1: images are not cut."""
    marks = ["<fake_token_around_image>", "<global-img>"]
    marks += [f"<row_{i + 1}_col_{j + 1}>" for i in range(longest) for j in range(longest)]
    tokenizer = byte_tokenizer(
        *("<|im_start|>", "<pad>", "<end_of_utterance>", "<image>"),
        *marks,
        **{"bos_token": "<|im_start|>", "pad_token": "<pad>", "eos_token": "<end_of_utterance>"},
        image_token="<image>",
        chat_template=CHAT,
    )
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>", *marks]})
    config = getattr(transformers, f"{kind}Config")(
        text_config={
            **{"model_type": "llama", "vocab_size": 280, "hidden_size": 32, "head_dim": 8},
            **{"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
            **{"num_key_value_heads": 2, "max_position_embeddings": 160, "pad_token_id": 1},
            **{"bos_token_id": 0, "eos_token_id": 2, "initializer_range": 0.1},
        },
        vision_config=siglip_vision(),
        **{"scale_factor": 2, "image_token_id": 3, "pad_token_id": 1},
        **{"bos_token_id": 0, "eos_token_id": 2},
    )
    getattr(transformers, f"{kind}ForConditionalGeneration")(config).save_pretrained(directory)
    getattr(transformers, f"{kind}ImageProcessorPil")(
        size={"longest_edge": 32 * longest},
        max_image_size={"longest_edge": 32},
        do_image_splitting=longest > 1,
    ).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def paligemma(directory: Path, text: str, kv_heads: int) -> None:
    tokenizer = byte_tokenizer(
        *("<pad>", "<eos>", "<bos>", "<unk>", "<image>"),
        **{"bos_token": "<bos>", "pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"},
        image_token="<image>",
    )
    more = {"query_pre_attn_scalar": 8, "sliding_window": 128} if text == "gemma2" else {}
    config = transformers.PaliGemmaConfig(
        text_config={
            **{"model_type": text, "vocab_size": 1300, "hidden_size": 32, "head_dim": 16},
            **{"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
            **{"num_key_value_heads": kv_heads, "max_position_embeddings": 160, "pad_token_id": 0},
            **{"bos_token_id": 2, "eos_token_id": 1, "initializer_range": 0.1, **more},
        },
        vision_config=siglip_vision(model_type="siglip_vision_model", projection_dim=32),
        **{"image_token_id": 4, "projection_dim": 32, "pad_token_id": 0},
        **{"bos_token_id": 2, "eos_token_id": 1},
    )
    transformers.PaliGemmaForConditionalGeneration(config).save_pretrained(directory)
    images = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    transformers.PaliGemmaProcessor(images, tokenizer).save_pretrained(directory)


TURNS = (
    "<bos>{% for m in messages %}user: {% for c in m.content %}"
    "{% if c.type == 'image' %}<start_of_image>{% else %}{{ c.text }}{% endif %}{% endfor %}"
    "{% endfor %} model:"
)


def gemma3(directory: Path) -> None:
    marks = ("<image_soft_token>", "<start_of_image>", "<end_of_image>")
    tokenizer = byte_tokenizer(
        *("<pad>", "<eos>", "<bos>", "<unk>", *marks),
        **{"bos_token": "<bos>", "pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"},
        **dict(zip(("image_token", "boi_token", "eoi_token"), marks, strict=True)),
        chat_template=TURNS,
    )
    config = transformers.Gemma3Config(
        text_config={
            **{"model_type": "gemma3_text", "vocab_size": 300, "hidden_size": 32, "head_dim": 16},
            **{"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
            **{"num_key_value_heads": 2, "max_position_embeddings": 160, "pad_token_id": 0},
            **{"bos_token_id": 2, "eos_token_id": 1, "initializer_range": 0.1},
            **{"query_pre_attn_scalar": 8, "sliding_window": 128},
            **{"layer_types": ["sliding_attention", "full_attention"]},
        },
        vision_config=siglip_vision(model_type="siglip_vision_model"),
        **{"mm_tokens_per_image": 4, "image_token_id": 4, "boi_token_index": 5},
        **{"eoi_token_index": 6, "initializer_range": 0.1},
    )
    model = transformers.Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)  # zeros
    model.save_pretrained(directory)
    images = transformers.Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    transformers.Gemma3Processor(
        images, tokenizer, chat_template=TURNS, image_seq_length=4
    ).save_pretrained(directory)


def blip2(directory: Path, before: bool) -> None:
    """`before`: where OPT has its norms."""
    tokenizer = byte_tokenizer(
        *("<s>", "<pad>", "</s>", "<unk>", "<image>"),
        **{"bos_token": "</s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
        image_token="<image>",
    )
    config = transformers.Blip2Config(
        vision_config=siglip_vision(initializer_range=0.1),
        qformer_config={
            **{"vocab_size": 31, "hidden_size": 32, "num_hidden_layers": 2},
            **{"num_attention_heads": 4, "intermediate_size": 48, "encoder_hidden_size": 24},
            **{"initializer_range": 0.1},
        },
        text_config={
            **{"model_type": "opt", "vocab_size": 280, "hidden_size": 32, "ffn_dim": 48},
            **{"word_embed_proj_dim": 32, "do_layer_norm_before": before},
            **{"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 80},
            **{"bos_token_id": 2, "eos_token_id": 50, "pad_token_id": 1, "init_std": 0.1},
        },
        num_query_tokens=6,
        image_token_index=4,
    )
    model = transformers.Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens)  # zeros when new
    model.save_pretrained(directory)
    images = square("BlipImageProcessorPil", 32)
    transformers.Blip2Processor(images, tokenizer, num_query_tokens=6).save_pretrained(directory)
