"""What a call is given: its images; its prompt, rules of decoding and choice of tokens, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgecap.bundle.generation_spec import MAX_BEAMS
from edgecap.bundle.interface import DECODE
from edgecap.bundle.manifest import Manifest
from edgecap.core.choices import pick
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.runtime.decode import Choose
from edgecap.runtime.image_files import is_image
from edgecap.runtime.rules import Rules, limited
from edgecap.runtime.sampling import Sampler, Sampling
from edgecap.runtime.vocabulary import Vocabulary

_DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True)
class Request:
    """What applies to all images of a call."""

    lang: str
    style: str
    rules: Rules
    sampling: Sampling | None

    def choose(self, places: Sequence[int]) -> Choose | None:
        """The token choice for the images at these places of the call; None: the best token."""
        return Sampler(self.sampling, places) if self.sampling else None


def request_of(
    manifest: Manifest,
    vocabulary: Vocabulary | None,
    lang: str | None,
    grounded: bool,
    style: str | None,
    beams: int | None,
    max_length: int | None,
    constrained: bool,
    sampling: Sampling | None,
    prompt: str | None,
) -> Request:
    """The checked request; `vocabulary`: of a model with languages. Errors as of `caption`."""
    if not manifest.interface.has(DECODE):
        raise UnsupportedError(
            "model.capability",
            f"{manifest.name} embeds images and texts; it does not generate captions.",
            "Use it with: edgecap index, edgecap search",
        )
    if beams is not None and not 1 <= beams <= MAX_BEAMS:
        raise InputError("caption.beams", f"beams must be in 1 … {MAX_BEAMS}, got {beams}.")
    if sampling is not None and beams is None:
        beams = 1
    if vocabulary is None:
        request = _prompted(manifest, lang, style, beams, max_length, sampling, prompt)
    elif prompt is not None:
        raise UnsupportedError(
            "caption.no_prompts", "this model has no prompts.", "Choose with lang and style."
        )
    else:
        style = style or ("grounded" if grounded else "plain")
        lang = vocabulary.language(lang or _DEFAULT_LANGUAGE)
        boxes = grounded and style != "plain"  # style "plain" implies it too
        rules = vocabulary.rules(lang, style, max_length, boxes, constrained, beams or 1)
        request = Request(lang, style, rules, sampling)
    width = request.rules.spec.beams
    if width > 1 and sampling is not None:
        raise UnsupportedError(
            "caption.beams_sampled",
            f"beam search ({width} beams) and sampling cannot be combined.",
            "Leave out the beams or the sampling.",
        )
    return request


def _prompted(
    manifest: Manifest,
    lang: str | None,
    style: str | None,
    beams: int | None,
    max_length: int | None,
    sampling: Sampling | None,
    prompt: str | None,
) -> Request:
    """A request to a model that has named prompts."""
    if lang is not None or style is not None:
        raise UnsupportedError(
            "caption.prompts",
            "this model has prompts, neither languages nor styles.",
            f"Choose a prompt from: {', '.join(manifest.prompts)}",
        )
    name = manifest.default_prompt if prompt is None else prompt
    spec = manifest.prompts[pick("prompt", name, manifest.prompts)]
    if max_length is not None and not 1 <= max_length <= spec.max_new_tokens:
        raise InputError(
            "caption.length",
            f"max_length must be 1 to {spec.max_new_tokens}, got {max_length}.",
            "For longer captions, export again with: --max-length",
        )
    return Request("", name, Rules(limited(spec, max_length, beams)), sampling)


def images_of(images: Any) -> Iterable[Any]:
    """The images of a call; a single one needs no list."""
    return [images] if is_image(images) else images


def is_alone(images: Any) -> bool:
    """Whether a call has a single image, as far as is known before they are read."""
    return is_image(images) or (isinstance(images, Sequence) and len(images) == 1)
