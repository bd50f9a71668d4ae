"""A captioner whose image and text rows lie in cache tensors, of each layer or of all layers.

Edgecap's own captioner is one: exports declare it in these terms, and manifests of schema 1, which
have the keys and the values of all layers in one tensor each, are read as them. Some names in its
graphs are older than schema 2, and stay.

Letters as in interface.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.interface import (
    BATCH,
    DECODE,
    DECODE_ATTENTION,
    DECODE_STATEFUL,
    ENCODE,
    ENCODE_TEXT,
    EXTEND,
    IMAGE,
    AttentionGrid,
    FunctionSpec,
    Interface,
    StateEntry,
    TensorSpec,
)
from edgecap.bundle.manifest import Function, prompt_name

FAMILY = "edgecap"  # of edgecap's own captioner
# The graphs' own names -> those of the interface; names that are not here are the same.
_FUNCTIONS = {"encode_image": ENCODE}
_TENSORS = {"k_new": "new_k", "v_new": "new_v"}


def by_contract(functions: Mapping[str, Function]) -> dict[str, Function]:
    """Where the functions lie, under the interface's names of functions and tensors."""
    return {
        _FUNCTIONS.get(name, name): replace(
            function,
            outputs={_TENSORS.get(n, n): target for n, target in function.outputs.items()},
        )
        for name, function in functions.items()
    }


def cached_interface(
    dims: Mapping[str, int],
    functions: Mapping[str, Function],
    dtype: str,
    batch: int | None,
    extend: int | None = None,
) -> Interface:
    """The interface of these functions.

    Args:
        dims: L, H, Dh, P, T, V, E, h and w; P is a square number.
        functions: where the interface's functions lie. The inputs of decode tell the entries: `k`
            and `v` of all layers, or `k_0` … and `v_0` … of each.
        dtype: of the cache, float32 or float16.
        batch: 1, or None where the graphs take any B.
        extend: the tokens n of a call of `extend`, if that is among `functions`.
    """
    side = round(dims["P"] ** 0.5)
    dims = {**dims, "C": dims["P"] + dims["T"], "N": dims["T"]}
    state = _entries(dims["L"], "k" in functions[DECODE].inputs, dtype)
    known = {spec.name: spec for spec in _functions(state, extend)}
    return Interface(
        dims,
        tuple(known[name] for name in known if name in functions),
        state,
        AttentionGrid(side, side, 0),
        batch,
    )


def _entries(L: int, joined: bool, dtype: str) -> tuple[StateEntry, ...]:
    """The cache, joined in two tensors or one by one."""
    kinds = (("k", "key"), ("v", "value"))
    rows: tuple[str, ...] = (BATCH, "H", "C", "Dh")
    if joined:
        rows = ("L", *rows)
        return tuple(StateEntry(name, "cache", kind, 0, rows, dtype) for name, kind in kinds)
    return tuple(
        StateEntry(f"{name}_{layer}", "cache", kind, layer, rows, dtype)
        for name, kind in kinds
        for layer in range(L)
    )


def _functions(state: tuple[StateEntry, ...], extend: int | None) -> list[FunctionSpec]:
    embedding = TensorSpec("float32", (BATCH, "E"))
    position = TensorSpec("int32", (BATCH,))
    token = {"token": TensorSpec("int32", (BATCH, 1)), "position": position}
    entries = {entry.name: entry.tensor for entry in state}
    logits = {"logits": TensorSpec("float32", (BATCH, "V"))}
    rows = {entry.new: entry.step for entry in state}
    mean = {"attention": TensorSpec("float32", (BATCH, "P"))}
    by_head = {"attention": TensorSpec("float32", (BATCH, "L", "H", "P"))}
    images = {entry.image: entry.encoded for entry in state}
    text = {"tokens": TensorSpec("int32", (BATCH, "N")), "length": position}
    encoded = {entry.name: entry.encoded for entry in state}
    found = [
        FunctionSpec(ENCODE, {"image": IMAGE}, {**encoded, "image_embedding": embedding}),
        FunctionSpec(DECODE, token | entries, logits | rows | mean),
        FunctionSpec(DECODE_ATTENTION, token | entries, logits | rows | by_head),
        FunctionSpec(DECODE_STATEFUL, token | images, logits | mean),
        FunctionSpec(ENCODE_TEXT, text, {"text_embedding": embedding}),
    ]
    if extend is not None:
        several = {"tokens": TensorSpec("int32", (BATCH, extend)), "position": position}
        scores = {"logits": TensorSpec("float32", (BATCH, extend, "V"))}
        new = {entry.new: entry.rows(extend) for entry in state}
        found.append(FunctionSpec(EXTEND, several | entries, scores | new))
    return found


def language_prompts(
    languages: Mapping[str, int], styles: Mapping[str, int], eos: int, pad: int, T: int
) -> dict[str, GenerationSpec]:
    """A prompt for every language and style, from the ids of their tokens."""
    return {
        prompt_name(language, style): GenerationSpec(
            begin=(first, second),
            eos=(eos,),
            max_new_tokens=T - 2,
            pad=pad,
            early_stopping="ended",
        )
        for language, first in languages.items()
        for style, second in styles.items()
    }
