"""Tiny checkpoints with random weights, as transformers saves them.

Two shapes or more per family, always with the same weights. Each maker writes one directory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel

END = 60  # the end token of the embedders' texts


def saved(directory: Path, model: PreTrainedModel, processor: Any, words: int) -> None:
    """The model, its image processor and a word list in `directory`."""
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(words - 5))]
    (directory / "vocab.txt").write_text("".join(f"{name}\n" for name in names))


def square(name: str, side: int, height: int | None = None) -> Any:
    """An image processor of transformers for images of side x side px, or of another height."""
    size = {"height": height or side, "width": side}
    return getattr(transformers, name)(size=size)


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


def byte_tokenizer(*specials: str, **named: str) -> Any:
    """An untrained byte-level tokenizer: special tokens first, then one token per byte."""
    words = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    extra = {name: named.pop(name) for name in list(named) if name in ("image_token",)}
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
    "clip": {
        "tiny": lambda d: clip(d, side=32, eos=60),
        "old-eos": lambda d: clip(d, side=40, eos=2),
    },
    "siglip": {"tiny": lambda d: siglip(d, side=32), "wide": lambda d: siglip(d, side=48)},
}


# Not exported by tests, which takes seconds: the same code as another, in other sizes.
EAGER_ONLY = {
    ("blip", "wide"),
    ("blip-2", "norms-behind"),
    ("vision-encoder-decoder", "gpt2-wide"),
    ("vision-encoder-decoder", "trocr-sinusoids"),
    ("git", "wide"),
    ("smolvlm", "tiny"),
    ("smolvlm", "crops"),
    ("clip", "old-eos"),
    ("siglip", "wide"),
}


# Exported by `make check-full` only: `make test` exports one of each family.
FULL_ONLY = {
    ("vision-encoder-decoder", "trocr"),
    ("vision-encoder-decoder", "donut"),
    ("paligemma", "gemma2"),
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
