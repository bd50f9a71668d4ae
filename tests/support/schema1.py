"""Bundles of the reference captioner in schema 1, as exports wrote them before schema 2."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from edgecap.bundle.files import ENCODER, TOKENIZER
from edgecap.bundle.io import finalize, open_bundle
from edgecap.bundle.manifest import Function
from edgecap.bundle.schema1 import (
    SCHEMA,
    Contract,
    Coordinates,
    Manifest,
    Preprocessing,
    TokenizerInfo,
)
from edgecap.reference.tokens import EOS, LOCATIONS, PAD, TEXT


def into_schema1(bundle: Path) -> Path:
    """Turn a bundle of schema 2 into the same of schema 1, in its place."""
    new = open_bundle(bundle).manifest
    dims = new.interface.dims
    contract = Contract(
        layers=dims["L"],
        heads=dims["H"],
        head_width=dims["Dh"],
        patches=dims["P"],
        text_length=dims["T"],
        vocabulary=dims["V"],
        embedding=dims["E"],
        cache=new.interface.state[0].dtype,
        batch=new.interface.batch,
        functions={
            {"encode": "encode_image"}.get(name, name): _own_names(function)
            for name, function in new.functions.items()
        },
    )
    (bundle / ENCODER).replace(bundle / TOKENIZER)
    old = Manifest(
        schema=SCHEMA,
        name=new.name,
        model=new.model.source,
        format=new.format,
        precision=new.precision,
        contract=contract,
        preprocessing=Preprocessing(
            dims["h"], "contain", "bilinear", "centre", new.image.fill, "RGB"
        ),
        tokenizer=TokenizerInfo(TOKENIZER, "", PAD, EOS, TEXT),
        languages=new.languages,
        styles=new.styles,
        coordinates=Coordinates("x0y0x1y1", new.regions.count, new.regions.bin_px, LOCATIONS[0]),
        grammar=new.grammar,
        plan=new.plan,
        tools=new.tools,
        license=new.model.license,
        files={},
        weights=new.model.weights,
    )
    finalize(bundle, old)
    return bundle


def schema1_twin(bundle: Path, twin: Path) -> Path:
    """A copy of a bundle of schema 2 at `twin`, in schema 1."""
    return into_schema1(Path(shutil.copytree(bundle, twin)))


def _own_names(function: Function) -> Function:
    names = {"new_k": "k_new", "new_v": "v_new"}
    outputs = {names.get(name, name): target for name, target in function.outputs.items()}
    return replace(function, outputs=outputs)
