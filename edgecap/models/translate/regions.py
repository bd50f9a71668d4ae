"""The places and marks of a vocabulary -> RegionsSpec."""

from __future__ import annotations

from dataclasses import replace

from edgecap.bundle.regions_spec import MARKS, RegionsSpec, check_regions_spec
from edgecap.bundle.text_spec import TextSpec
from edgecap.models.translate.checkpoint import refuse

# How the models' own tokenizers spell places, and how many they have.
_PLACES = {
    "cells2": ("<patch_index_{:04}>", 1024),
    "loc1000": ("<loc_{}>", 1000),
    "loc1024": ("<loc{:04}>", 1024),
}
_MARKS = {
    "phrase": "<phrase>",
    "end_phrase": "</phrase>",
    "object": "<object>",
    "end_object": "</object>",
    "delimiter": "</delimiter_of_multi_objects/>",
}

# What else the models' own post-processors take out of a caption, though tokenizers call it text.
_TAGS = {
    "cells2": ("<grounding>", "<image>", "</image>", "<doc>", "</doc>", "</chunk>", "</line>"),
}


def without_tags(text: TextSpec, codec: str) -> TextSpec:
    """The spec, with tags that are no words of a caption among its special tokens."""
    tags = _TAGS.get(codec, ())
    found = {id_ for id_, token in enumerate(text.tokens) if token in tags}
    return replace(text, special=tuple(sorted({*text.special, *found})))


def has_places(text: TextSpec, codec: str) -> bool:
    """Whether a vocabulary has the last of a codec's places: a model may be trained without."""
    spelling, count = _PLACES[codec]
    return spelling.format(count - 1) in text.tokens


def regions_spec(text: TextSpec, codec: str) -> RegionsSpec:
    """How a family that writes boxes by `codec` (cells2, loc1000, loc1024) spells them.

    Raises UnsupportedError (checkpoint.unsupported) where the vocabulary lacks a token, or its
    places do not follow one another.
    """
    spelling, count = _PLACES[codec]
    ids = {token: id_ for id_, token in enumerate(text.tokens) if token is not None}
    wanted = [spelling.format(n) for n in range(count)]
    needed = {name: _MARKS[name] for name in MARKS[codec]}
    missing = [token for token in [*wanted, *needed.values()] if token not in ids]
    if missing:
        raise refuse(f"a tokenizer without {missing[0]}", f"boxes by {codec} need it")
    places = [ids[token] for token in wanted]
    if places != list(range(places[0], places[0] + count)):
        raise refuse(f"a tokenizer whose {wanted[0]} … are not in order", "a bundle counts them")
    marks = {name: ids[token] for name, token in needed.items()}
    spec = RegionsSpec(codec, places[0], count, marks=marks)
    check_regions_spec(spec, vocabulary=len(text.tokens))
    return spec
