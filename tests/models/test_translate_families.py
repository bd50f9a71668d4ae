"""Processors of every family, as save_pretrained writes them, are translated whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    BartTokenizer,
    BertTokenizer,
    BlipProcessor,
    DonutProcessor,
    Florence2Processor,
    GemmaTokenizer,
    GitProcessor,
    GPT2Tokenizer,
    Idefics3Processor,
    Kosmos2Processor,
    LlamaTokenizer,
    LlavaProcessor,
    PaliGemmaProcessor,
    RobertaTokenizer,
    TrOCRProcessor,
    XLMRobertaTokenizer,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.donut.image_processing_pil_donut import DonutImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from edgecap.core.errors import UnsupportedError
from edgecap.models.translate import Checkpoint, image_spec, regions_spec, text_spec
from edgecap.runtime.text import TextCodec


def with_tokens(tokenizer: Any, *tokens: str) -> Any:
    tokenizer.add_special_tokens({"extra_special_tokens": list(tokens)})
    return tokenizer


def florence2() -> Any:
    tokenizer = with_tokens(BartTokenizer(), "<image>")
    tokenizer.add_tokens([f"<loc_{n}>" for n in range(1000)])
    tokenizer.image_token, tokenizer.image_token_id = "<image>", len(tokenizer) - 1001
    images = CLIPImageProcessorPil(size={"height": 768, "width": 768}, do_center_crop=False)
    return Florence2Processor(images, tokenizer, num_additional_image_tokens=1)


def paligemma() -> Any:
    images = SiglipImageProcessorPil()
    images.image_seq_length = 256
    return PaliGemmaProcessor(images, with_tokens(GemmaTokenizer(), "<image>"))


def idefics3() -> Any:
    tokens = ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
    return Idefics3Processor(Idefics3ImageProcessorPil(), with_tokens(GPT2Tokenizer(), *tokens))


# name: (processor, input of the model, text family, codec of boxes)
FAMILIES: dict[str, tuple[Callable[[], Any], tuple[int, int], str, str | None]] = {
    "BLIP": (
        lambda: BlipProcessor(BlipImageProcessorPil(), BertTokenizer()),
        (384, 384),
        "wordpiece",
        None,
    ),
    "GIT": (
        lambda: GitProcessor(CLIPImageProcessorPil(), BertTokenizer()),
        (224, 224),
        "wordpiece",
        None,
    ),
    "TrOCR": (
        lambda: TrOCRProcessor(ViTImageProcessorPil(size=384), RobertaTokenizer()),
        (384, 384),
        "byte_level",
        None,
    ),
    "Donut": (
        lambda: DonutProcessor(DonutImageProcessorPil(), XLMRobertaTokenizer()),
        (2560, 1920),
        "metaspace",
        None,
    ),
    "Kosmos-2": (
        lambda: Kosmos2Processor(
            CLIPImageProcessorPil(use_square_size=True), XLMRobertaTokenizer()
        ),
        (224, 224),
        "metaspace",
        "cells2",
    ),
    "Florence-2": (florence2, (768, 768), "byte_level", "loc1000"),
    "PaliGemma": (paligemma, (224, 224), "byte_fallback", "loc1024"),
    "Idefics3": (idefics3, (364, 364), "byte_level", None),
    "LLaVA 1.5": (
        lambda: LlavaProcessor(
            CLIPImageProcessorPil(
                size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
            ),
            with_tokens(LlamaTokenizer(), "<image>"),
            patch_size=14,
        ),
        (336, 336),
        "byte_fallback",
        None,
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_translated(name: str, tmp_path: Path) -> None:
    make, size, family, codec = FAMILIES[name]
    processor = make()
    processor.save_pretrained(tmp_path)
    source = Checkpoint(tmp_path)
    spec, _ = image_spec(source)
    assert spec.input_size == size
    text = text_spec(source)
    assert text.family == family
    assert len(text.tokens) == len(processor.tokenizer)
    words = TextCodec(text)
    for id_ in range(len(words)):
        theirs = processor.tokenizer.decode([id_], skip_special_tokens=True)
        assert words.decode([id_]) == theirs, words.token(id_)
    if codec is not None:
        regions = regions_spec(text, codec)
        last = text.tokens[regions.first + regions.count - 1]
        assert last in ("<patch_index_1023>", "<loc_999>", "<loc1023>")


def test_places_out_of_order_or_missing_are_refused(tmp_path: Path) -> None:
    florence2().save_pretrained(tmp_path)
    text = text_spec(Checkpoint(tmp_path))
    with pytest.raises(UnsupportedError, match="without <patch_index_0000>"):
        regions_spec(text, "cells2")
    turned = (*text.tokens[:-2], text.tokens[-1], text.tokens[-2])
    with pytest.raises(UnsupportedError, match="not in order"):
        regions_spec(replace(text, tokens=turned), "loc1000")
