"""The manifest of a reference captioner, before its files are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecap.bundle.cached import FAMILY, by_contract, cached_interface, language_prompts
from edgecap.bundle.files import ENCODER, TOKENIZER
from edgecap.bundle.grammar import BOXES, END, PLAIN, Grammar, Move
from edgecap.bundle.image_spec import letterboxed
from edgecap.bundle.manifest import SCHEMA, Function, Manifest, ModelInfo, TextFrame
from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.reference.boxes import BIN_PX
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.extension import SHIPPED, Extension
from edgecap.reference.tokens import (
    EOS_ID,
    FIRST_LOCATION_ID,
    ID,
    LOCATION_BINS,
    PAD_ID,
    SPECIALS,
    STYLES,
    TEXT_ID,
)

LICENSE = "Apache-2.0"


def build_manifest(
    config: CaptionerConfig,
    *,
    name: str,
    model: str,
    format: str,
    precision: str,
    functions: Mapping[str, Function],
    cache: str = "float32",
    batch: int | None = None,
    extend: int | None = None,
    plan: Mapping[str, Any] | None = None,
    tools: Mapping[str, str] | None = None,
    extension: Extension = SHIPPED,
    weights: str | None = None,
) -> Manifest:
    """A manifest without files; `edgecap.bundle.io.finalize` adds them and writes it.

    Args:
        functions: by the graphs' own names, such as encode_image and k_new: see
            `edgecap.bundle.manifest.identity_names`.
        cache: dtype of k and v in the graphs, float32 or float16.
        batch: 1 where the graphs take one image at a time, None where B is dynamic.
        extend: the tokens of a call of `extend`, where there is one.
        plan: the quantisation plan, plain JSON values.
        tools: package -> version of the tools that wrote the files.
        extension: languages and tokens beyond the shipped ones.
        weights: hex SHA-256 of the weights file, if known.
    """
    places = by_contract(functions)
    dims = {
        "L": config.layers,
        "H": config.heads,
        "Dh": config.head_width,
        "P": config.patches,
        "T": config.text_length,
        "V": config.vocabulary,
        "E": config.embedding,
        "h": config.image_size,
        "w": config.image_size,
    }
    return Manifest(
        schema=SCHEMA,
        name=name,
        model=ModelInfo(FAMILY, model, LICENSE, weights),
        format=format,
        precision=precision,
        interface=cached_interface(dims, places, cache, batch, extend),
        functions=places,
        image=letterboxed(config.image_size),
        tokenizer=TOKENIZER,
        encoder=ENCODER,
        prompts=language_prompts(
            {language: extension.token_id(language) for language in extension.languages},
            {style: ID[f"<{style}>"] for style in STYLES},
            EOS_ID,
            PAD_ID,
            config.text_length,
        ),
        regions=RegionsSpec("edges4", FIRST_LOCATION_ID, LOCATION_BINS, BIN_PX),
        plan=dict(plan or {}),
        tools=dict(tools or {}),
        files={},
        languages=extension.languages,
        styles=STYLES,
        grammar=box_grammar(config.vocabulary),
        texts=TextFrame((TEXT_ID,), (EOS_ID,), PAD_ID),
    )


def box_grammar(vocabulary: int) -> Grammar:
    """The reference captioner's grammar: words and boxes (x0 < x1, y0 < y1), then <eos>."""
    last = FIRST_LOCATION_ID + LOCATION_BINS
    end, word = Move("end", "end", 1, 0), Move("word", "text", 1, 0)
    return Grammar(
        start={BOXES: "text", PLAIN: "plain"},
        classes={
            "end": END,
            "word": ((len(SPECIALS), vocabulary),),
            # No box lies right of or below the last edge, so a box cannot start there.
            "corner": ((FIRST_LOCATION_ID, last - 1),),
            "edge": ((FIRST_LOCATION_ID, last),),
        },
        states={
            "text": (word, end, Move("corner", "x0", 4, 0)),
            "x0": (Move("corner", "y0", 1, 0),),
            "y0": (Move("edge", "x1", 1, 2),),
            "x1": (Move("edge", "text", 1, 2),),
            "plain": (Move("word", "plain", 1, 0), end),
            "end": (),
        },
    )
