"""The manifest of a reference captioner, before its files are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecap.bundle.grammar import BOXES, END, PLAIN, Grammar, Move
from edgecap.bundle.manifest import (
    SCHEMA,
    TOKENIZER,
    Contract,
    Coordinates,
    Function,
    Manifest,
    TokenizerInfo,
    standard_preprocessing,
)
from edgecap.reference.boxes import BIN_PX
from edgecap.reference.config import CaptionerConfig
from edgecap.reference.tokens import (
    EOS,
    FIRST_LOCATION_ID,
    LANGUAGES,
    LOCATION_BINS,
    LOCATIONS,
    PAD,
    SPECIALS,
    STYLES,
    TEXT,
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
    plan: Mapping[str, Any] | None = None,
    tools: Mapping[str, str] | None = None,
    languages: tuple[str, ...] = LANGUAGES,
) -> Manifest:
    """A manifest without files; `edgecap.bundle.io.finalize` adds them and writes it.

    Args:
        functions: for each of FUNCTIONS, the graph and tensor names; see identity_names.
        cache: dtype of k and v in the graphs, float32 or float16.
        batch: 1 where the graphs take one image at a time, None where B is dynamic.
        plan: the quantisation plan, plain JSON values.
        tools: package -> version of the tools that wrote the files.
    """
    contract = Contract(
        layers=config.layers,
        heads=config.heads,
        head_width=config.head_width,
        patches=config.patches,
        text_length=config.text_length,
        vocabulary=config.vocabulary,
        embedding=config.embedding,
        cache=cache,
        batch=batch,
        functions=dict(functions),
    )
    return Manifest(
        schema=SCHEMA,
        name=name,
        model=model,
        format=format,
        precision=precision,
        contract=contract,
        preprocessing=standard_preprocessing(config.image_size),
        tokenizer=TokenizerInfo(TOKENIZER, "", PAD, EOS, TEXT),
        languages=languages,
        styles=STYLES,
        coordinates=Coordinates("x0y0x1y1", LOCATION_BINS, BIN_PX, LOCATIONS[0]),
        grammar=box_grammar(config.vocabulary),
        plan=dict(plan or {}),
        tools=dict(tools or {}),
        license=LICENSE,
        files={},
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
