"""A manifest of schema 1 in the terms of schema 2, so that hosts run one kind of bundle.

Schema 1 describes one architecture: its cache holds image rows and then text rows of all layers, a
prompt is a language and a style, and boxes are four edges. Nothing is written; the file stays as it
is.

Letters as in interface.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgecap.bundle import manifest as schema1
from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.image_spec import ImageSpec
from edgecap.bundle.interface import (
    BATCH,
    DECODE,
    DECODE_ATTENTION,
    ENCODE,
    ENCODE_TEXT,
    IMAGE,
    AttentionGrid,
    FunctionSpec,
    Interface,
    StateEntry,
    TensorSpec,
)
from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.bundle.schema2 import (
    SCHEMA,
    Function,
    Manifest,
    ModelInfo,
    TextFrame,
    check_manifest,
    prompt_name,
)
from edgecap.core.errors import BundleError

FAMILY = "edgecap"
# decode_stateful is left out: hosts that keep a state call it by its own name.
_FUNCTIONS = {
    "encode_image": ENCODE,
    "decode": DECODE,
    "decode_attention": DECODE_ATTENTION,
    "encode_text": ENCODE_TEXT,
}
_TENSORS = {"k_new": "new_k", "v_new": "new_v"}


def upgraded(old: schema1.Manifest, id_of: Callable[[str], int], known: int) -> Manifest:
    """The same bundle as a manifest of schema 2.

    Args:
        old: a checked manifest.
        id_of: the id of a token by name; BundleError (tokenizer.token) for one that is missing.
        known: number of ids of the tokenizer.

    Raises:
        BundleError (tokenizer.*) if the tokenizer does not fit the manifest.
    """
    contract, place = old.contract, old.coordinates
    V, T = contract.vocabulary, contract.text_length
    if known > V:
        raise BundleError("tokenizer.size", f"the tokenizer has {known} tokens and the model {V}.")
    first = id_of(place.first)
    if first + place.bins > known:
        raise BundleError("tokenizer.token", f"there are fewer than {place.bins} locations.")
    pad, eos = id_of(old.tokenizer.pad), id_of(old.tokenizer.eos)
    prompts = {
        prompt_name(language, style): GenerationSpec(
            begin=(id_of(f"<{language}>"), id_of(f"<{style}>")),
            eos=(eos,),
            max_new_tokens=T - 2,
            pad=pad,
            early_stopping="ended",
        )
        for language in old.languages
        for style in old.styles
    }
    functions = {
        _FUNCTIONS[name]: _renamed(function)
        for name, function in old.functions.items()
        if name in _FUNCTIONS
    }
    manifest = Manifest(
        schema=SCHEMA,
        name=old.name,
        model=ModelInfo(FAMILY, old.model, old.license, old.weights),
        format=old.format,
        precision=old.precision,
        interface=_interface(old, functions),
        functions=functions,
        image=image_spec(old.preprocessing),
        tokenizer=old.tokenizer.file,
        encoder=old.tokenizer.file,
        prompts=prompts,
        regions=RegionsSpec("edges4", first, place.bins, place.bin_px),
        plan=old.plan,
        tools=old.tools,
        files=old.files,
        languages=old.languages,
        styles=old.styles,
        grammar=old.grammar,
        texts=TextFrame((id_of(old.tokenizer.text),), (eos,), pad),
    )
    if old.files:  # a model in memory has none
        check_manifest(manifest)
    return manifest


def image_spec(settings: schema1.Preprocessing) -> ImageSpec:
    """The image processing of schema 1 in the terms of schema 2."""
    return ImageSpec(
        (settings.size, settings.size),
        settings.fit,
        settings.resample,
        background=settings.fill,
        wide="high_byte",
        fill=settings.fill,
        channels=settings.channels,
    )


def _renamed(function: Function) -> Function:
    return replace(
        function, outputs={_TENSORS.get(n, n): target for n, target in function.outputs.items()}
    )


def _interface(old: schema1.Manifest, functions: dict[str, Function]) -> Interface:
    contract, size = old.contract, old.preprocessing.size
    dims = {
        "L": contract.layers,
        "H": contract.heads,
        "Dh": contract.head_width,
        "P": contract.patches,
        "T": contract.text_length,
        "C": contract.context,
        "N": contract.text_length,
        "V": contract.vocabulary,
        "E": contract.embedding,
        "h": size,
        "w": size,
    }
    rows = ("L", BATCH, "H", "C", "Dh")
    state = tuple(
        StateEntry(name, "cache", kind, 0, rows, contract.cache)
        for name, kind in (("k", "key"), ("v", "value"))
    )
    embedding = TensorSpec("float32", (BATCH, "E"))
    encoded = {entry.name: entry.encoded for entry in state}
    inputs = {
        "token": TensorSpec("int32", (BATCH, 1)),
        "position": TensorSpec("int32", (BATCH,)),
        **{entry.name: entry.tensor for entry in state},
    }
    outputs = {
        "logits": TensorSpec("float32", (BATCH, "V")),
        **{entry.new: entry.step for entry in state},
    }
    mean = {"attention": TensorSpec("float32", (BATCH, "P"))}
    by_head = {"attention": TensorSpec("float32", (BATCH, "L", "H", "P"))}
    text = {
        "tokens": TensorSpec("int32", (BATCH, "N")),
        "length": TensorSpec("int32", (BATCH,)),
    }
    specs = (
        FunctionSpec(ENCODE, {"image": IMAGE}, encoded | {"image_embedding": embedding}),
        FunctionSpec(DECODE, inputs, outputs | mean),
        FunctionSpec(DECODE_ATTENTION, inputs, outputs | by_head),
        FunctionSpec(ENCODE_TEXT, text, {"text_embedding": embedding}),
    )
    return Interface(
        dims,
        tuple(spec for spec in specs if spec.name in functions),
        state,
        AttentionGrid(contract.grid, contract.grid, 0),
        contract.batch,
    )
