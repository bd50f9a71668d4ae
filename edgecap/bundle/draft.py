"""The manifest of a model of this package, before its files are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecap.bundle.grammar import box_grammar
from edgecap.bundle.manifest import (
    FUNCTIONS,
    OPTIONAL_FUNCTIONS,
    SCHEMA,
    TOKENIZER,
    Contract,
    Coordinates,
    Function,
    Manifest,
    Preprocessing,
    TokenizerInfo,
)
from edgecap.core.boxes import BIN_PX
from edgecap.core.config import CaptionerConfig
from edgecap.core.tokens import EOS, LANGUAGES, LOCATION_BINS, LOCATIONS, PAD, STYLES, TEXT

GREY = 127  # middle grey: neither of the ends of the model's input range
LICENSE = "Apache-2.0"


def preprocessing(size: int = CaptionerConfig().image_size) -> Preprocessing:
    """How pictures reach the canvas in every model of this package."""
    return Preprocessing(size, "contain", "bilinear", "centre", GREY, "RGB")


def same_names(file: str, name: str) -> Function:
    """A function whose entry and tensors bear the contract's own names."""
    inputs, outputs = (FUNCTIONS | OPTIONAL_FUNCTIONS)[name]
    return Function(file, name, {n: n for n in inputs}, {n: n for n in outputs})


def draft(
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
    """A manifest without files; `edgecap.bundle.io.seal` adds them and writes it.

    Args:
        functions: for each of FUNCTIONS, where it lies; see same_names.
        cache: dtype of k and v in the graphs, float32 or float16.
        batch: 1 where the graphs take one at a time, None where they take any B.
        plan: the quantisation plan, plain JSON values.
        tools: package -> version of what wrote the files.
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
        preprocessing=preprocessing(config.image_size),
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
