"""The families edgecap knows, by the `model_type` of a checkpoint's config.json.

Adding one: a row here, and the file it names; tests/models runs on every row.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecap.core.errors import UnsupportedError
from edgecap.core.lazy import require
from edgecap.core.noise import without_warnings

if TYPE_CHECKING:
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint

GUIDE = "docs/adapters.md"


@dataclass(frozen=True)
class Family:
    """One row: where the adapter is, and which classes of transformers it takes."""

    adapter: str  # module:class below edgecap.models
    architectures: tuple[str, ...]  # as config.json names them
    captions: bool = True  # false: embeds only
    needs: tuple[str, ...] = ("tokenizer", "image_processor")


FAMILIES: dict[str, Family] = {
    "blip": Family("blip:Blip", ("BlipForConditionalGeneration",)),
    "blip-2": Family("blip2:Blip2", ("Blip2ForConditionalGeneration",)),
    "vision-encoder-decoder": Family(
        "vision_encoder_decoder:VisionEncoderDecoder", ("VisionEncoderDecoderModel",)
    ),
    "git": Family("git:Git", ("GitForCausalLM",)),
    "florence2": Family("florence2:Florence2", ("Florence2ForConditionalGeneration",)),
    "kosmos-2": Family("kosmos2:Kosmos2", ("Kosmos2ForConditionalGeneration",)),
    "idefics3": Family("idefics3:Idefics3", ("Idefics3ForConditionalGeneration",)),
    "smolvlm": Family("idefics3:Idefics3", ("SmolVLMForConditionalGeneration",)),
    "paligemma": Family("paligemma:PaliGemma", ("PaliGemmaForConditionalGeneration",)),
    "gemma3": Family("gemma3:Gemma3", ("Gemma3ForConditionalGeneration",)),
    "llava": Family("llava:Llava", ("LlavaForConditionalGeneration",)),
    "llava_onevision": Family("llava:LlavaOnevision", ("LlavaOnevisionForConditionalGeneration",)),
    "qwen2_vl": Family("qwen2_vl:Qwen2VL", ("Qwen2VLForConditionalGeneration",)),
    "qwen2_5_vl": Family("qwen2_5_vl:Qwen25VL", ("Qwen2_5_VLForConditionalGeneration",)),
    "qwen3_vl": Family("qwen3_vl:Qwen3VL", ("Qwen3VLForConditionalGeneration",)),
    "clip": Family("clip:Clip", ("CLIPModel",), captions=False),
    "siglip": Family("siglip:Siglip", ("SiglipModel",), captions=False),
}


# Part of a model_type without an adapter -> the family whose adapter is the closest to one of it.
NEAREST = {
    "blip": "blip",
    "siglip": "siglip",
    "clip": "clip",
    "pix2struct": "vision-encoder-decoder",
    "donut": "vision-encoder-decoder",
    "gemma": "paligemma",
    "llava_next": "llava_onevision",
    "llava": "llava",
    "qwen": "qwen2_vl",
    **dict.fromkeys(("_vl", "intern", "mllama", "fuyu", "idefics"), "smolvlm"),
}


def find(model_type: str, architecture: str | None) -> Family:
    """The family of a checkpoint, without importing it; raises UnsupportedError."""
    family = FAMILIES.get(model_type)
    if family is None:
        near = next((to for part, to in NEAREST.items() if part in model_type), None)
        close = difflib.get_close_matches(model_type, FAMILIES, 1, 0.5)
        named = near or next(iter(close), None)
        nearest = f"; the nearest is {named}" if named else ""
        raise UnsupportedError(
            "model.unknown",
            f"model_type {model_type!r} has no adapter{nearest}. Known: {', '.join(FAMILIES)}.",
            f"How to write an adapter: {GUIDE}",
        )
    if architecture is not None and architecture not in family.architectures:
        raise UnsupportedError(
            "model.architecture",
            f"{architecture} of {model_type} is not exported; "
            f"known: {', '.join(family.architectures)}.",
            f"How to write an adapter: {GUIDE}",
        )
    return family


def load(
    checkpoint: Checkpoint,
    text_rows: int | None = None,
    prompt: str | None = None,
    build: Callable[..., Any] | None = None,
    max_length: int | None = None,
    image_size: int | None = None,
) -> Adapter:
    """The adapter of a checkpoint.

    Args:
        checkpoint: as opened by `edgecap.models.checkpoint`.
        text_rows: T, the longest prompt and caption together (N, of a text to embed); None: what
            the checkpoint suggests.
        prompt: the words around the image, of families that have such; None: the family's own.
        build: makes the model; None: with its weights. `weightless.without_weights`: without.
        max_length: tokens of a caption, whatever the checkpoint's files say; None: as they say.
        image_size: side of the images in px, of families that take any; None: about 448.

    Raises:
        UnsupportedError: what this checkpoint asks for cannot be done.
        MissingPackageError: torch or transformers is not installed.
    """
    with without_warnings():  # of packages that transformers imports where they are installed
        require("torch", "export")
        transformers = require("transformers", "export")
        transformers.utils.logging.disable_progress_bar()
        if max_length is not None:
            base = importlib.import_module("edgecap.models.base")
            build = base.up_to(max_length, build or base.from_weights)
        return _load(checkpoint, text_rows, prompt, build, image_size)


def _load(
    checkpoint: Checkpoint,
    text_rows: int | None,
    prompt: str | None,
    build: Callable[..., Any] | None,
    image_size: int | None,
) -> Adapter:
    family = find(checkpoint.model_type, checkpoint.architecture)
    module, _, name = family.adapter.partition(":")
    adapter = getattr(importlib.import_module(f"edgecap.models.{module}"), name)
    options = {"prompt": prompt, "build": build, "image_size": image_size}
    if prompt is not None and not hasattr(adapter, "default_prompt"):
        raise UnsupportedError(
            "model.prompt",
            f"{checkpoint.model_type} has no prompt around its image.",
            "Leave --prompt out; its captions begin as its files say.",
        )
    if image_size is not None and not hasattr(adapter, "default_side"):
        raise UnsupportedError(
            "model.image_size",
            f"{checkpoint.model_type} takes images of one size, that of its image processor.",
            "Leave --image-size out.",
        )
    return adapter(checkpoint, text_rows, **{k: v for k, v in options.items() if v is not None})
