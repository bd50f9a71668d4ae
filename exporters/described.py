"""A checkpoint's files as the data of a manifest, the same for every format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.image_spec import ImageSpec
from edgecap.bundle.interface import DECODE, ENCODE_TEXT
from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.bundle.text_spec import TextSpec
from edgecap.core.errors import UnsupportedError
from edgecap.models import translate

if TYPE_CHECKING:
    from edgecap.models.adapter import Adapter
    from edgecap.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Described:
    """The data of a manifest that no format changes."""

    image: ImageSpec
    text: TextSpec | None
    prompts: dict[str, GenerationSpec]
    regions: RegionsSpec | None
    encoder: bytes | None  # the file that turns text into ids


def describe(adapter: Adapter, opened: Checkpoint, longest: int | None = None) -> Described:
    """`longest`: tokens of a caption; None: as many as the checkpoint's settings say.

    Raises UnsupportedError where one of the settings cannot be expressed, or the model does not
    reach as far.
    """
    files = translate.Checkpoint(opened.directory)
    prompts: dict[str, GenerationSpec] = {}
    text, regions = None, None
    if adapter.interface.has(DECODE):
        assert adapter.generation is not None
        text = translate.text_spec(files)
        T = adapter.interface.dims["T"]
        for name, begin in adapter.generation.prompts.items():
            ids: dict[str, Any] = {
                "eos_token_id": list(adapter.generation.end),
                "pad_token_id": adapter.generation.pad,
            }
            if longest is not None:
                ids["max_new_tokens"] = longest
            spec = translate.generation_spec(
                files,
                begin=begin,
                prefix=adapter.generation.prefix,
                ids=ids,
                settings=adapter.generation.settings,
            )
            most = min(spec.max_new_tokens, T - len(begin) + 1)
            if longest is not None and longest > most:
                raise UnsupportedError(
                    "model.text_rows",
                    f"captions of {longest} tokens are not possible: {adapter.source} has "
                    f"positions for {most} behind its prompt.",
                )
            least = min(spec.min_new_tokens, most)
            # The ids of an image are many, and nothing but these rules looks back at them.
            looks_back = spec.repetition_penalty != 1 or spec.no_repeat_ngram > 0
            prefix = spec.prefix if looks_back else ()
            prompts[name] = replace(spec, max_new_tokens=most, min_new_tokens=least, prefix=prefix)
        codec = adapter.regions
        if codec is not None and translate.has_places(text, codec):
            regions = translate.regions_spec(text, codec)
            text = translate.without_tags(text, codec)
    encoder = None
    if adapter.interface.has(ENCODE_TEXT):
        encoder = files.tokenizer_file
    return Described(adapter.image, text, prompts, regions, encoder)
