"""Contract 2 as data: what agrees with itself is read back the same, anything else refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from edgecap.bundle.cached import cached_interface
from edgecap.bundle.interface import (
    AttentionGrid,
    Interface,
    StateEntry,
    captioner,
    checked,
    embedder,
    interface_from_json,
)
from edgecap.bundle.manifest import Function
from edgecap.core import typed
from edgecap.core.errors import BundleError

DIMS = {"h": 32, "w": 48, "P": 7, "T": 5, "G": 2, "Dh": 4, "V": 11, "E": 3}


def state() -> list[StateEntry]:
    rows = [
        StateEntry(f"{role}_{kind}_{layer}", role, kind, layer, ("B", "G", size, "Dh"), "float32")
        for role, size in (("image", "P"), ("text", "T"))
        for layer in (0, 1)
        for kind in ("key", "value")
    ]
    return [*rows, StateEntry("conv_0", "rolling", "other", 0, ("B", 6, 3), "float16")]


def whole() -> Interface:
    return captioner(DIMS, state(), embeds=True)


def plain(interface: Interface) -> Any:
    return json.loads(typed.dump(interface))


def of_crops() -> Interface:
    length = StateEntry("image_length", "image", "length", 0, ("B",), "int32")
    return captioner(DIMS | {"n": 5, "F": 4, "D": 8}, [*state(), length], crops=True)


def test_an_image_may_be_a_grid_of_crops() -> None:
    interface = of_crops()
    crop, encode = interface.function("encode_crop"), interface.function("encode")
    assert interface.sizes(interface.image.shape, 2) == (2, 32, 48, 3)
    assert interface.image is crop.inputs["image"]
    assert {n: interface.sizes(t.shape, 2) for n, t in encode.inputs.items()} == {
        "features": (2, 5, 4, 8),
        "grid": (2, 2),
    }
    assert interface.sizes(encode.outputs["image_length"].shape, 2) == (2,)
    assert "image_length" in interface.function("decode").inputs
    assert interface_from_json(plain(interface)) == interface


@pytest.mark.parametrize(
    ("function", "tensor"), [("encode", "grid"), ("encode_crop", "image"), ("encode", "features")]
)
def test_functions_of_crops_have_the_tensors_of_the_contract(function: str, tensor: str) -> None:
    value = plain(of_crops())
    (spec,) = [each for each in value["functions"] if each["name"] == function]
    spec["inputs"]["pixels"] = spec["inputs"].pop(tensor)
    with pytest.raises(BundleError, match=f"{function} must map"):
        interface_from_json(value)


def test_functions_follow_from_the_state() -> None:
    interface = whole()
    encode, decode = interface.function("encode"), interface.function("decode")
    assert list(encode.inputs) == ["image"]
    assert interface.sizes(encode.inputs["image"].shape, 3) == (3, 32, 48, 3)
    assert list(encode.outputs)[-2:] == ["conv_0", "image_embedding"]
    assert list(decode.inputs) == ["token", "position", *(entry.name for entry in state())]
    shapes = {name: interface.sizes(spec.shape, 2) for name, spec in decode.outputs.items()}
    assert shapes == {
        "logits": (2, 11),
        "new_text_key_0": (2, 2, 1, 4),
        "new_text_value_0": (2, 2, 1, 4),
        "new_text_key_1": (2, 2, 1, 4),
        "new_text_value_1": (2, 2, 1, 4),
        "new_conv_0": (2, 6, 3),
    }
    assert decode.outputs["new_conv_0"].dtype == "float16"
    assert interface.state_bytes() == 4 * 2 * (7 + 5) * 4 * 4 + 6 * 3 * 2
    assert interface.has("decode") and not interface.has("encode_text")


@pytest.mark.parametrize("made", [whole, lambda: embedder({**DIMS, "N": 9})])
def test_it_survives_json(made: Callable[[], Interface]) -> None:
    assert interface_from_json(plain(made())) == made()


def change(value: Any, path: str, to: Any) -> Any:
    """`value` with the place `a.0.b` set."""
    *inner, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = value
    for step in inner:
        place = place[step]
    place[last] = to
    return value


@pytest.mark.parametrize(
    ("path", "to", "match"),
    [
        ("dims.P", 0, "dims.P is 0"),
        ("dims.B", 2, "dims.B is 2"),
        ("batch", 3, "batch is 3"),
        ("state.0.role", "picture", "role is 'picture'"),
        ("state.0.name", "Image", "must be named in"),
        ("state.0.name", "image_value_0", "the same name"),
        ("state.0.dtype", "int4", "'int4'"),
        ("state.0.shape", ["G", "P"], "must be the batch B"),
        ("state.0.shape", ["B", "X"], "size 'X'"),
        ("state.0.shape", ["B", 0], "size 0"),
        ("state.4.shape", ["B", "G", "P", "Dh"], "must have the shape"),
        ("state.0.shape", ["B", True], "whole number"),
        ("state.0.shape", ["B", 2.5], "must be"),
        ("state.0.shape", ["B", None], "must be"),
        ("state.0.layer", "x", "whole number"),
        ("functions.0.name", "see", "encode is required"),
        ("functions.0.inputs", {}, "encode must map image"),
        ("functions.0.outputs.extra", {"dtype": "float32", "shape": ["B"]}, "encode must map"),
        ("functions.1.inputs.extra", {"dtype": "int32", "shape": ["B"]}, "decode must take"),
        ("functions.1.outputs.extra", {"dtype": "int32", "shape": ["B"]}, "decode must return"),
        ("functions.1.outputs.attention", {"dtype": "float32", "shape": ["B", "P"]}, "attention"),
        ("attention", {"rows": 1, "columns": 6, "first": 1}, "decode must return attention"),
        ("functions.1", {"name": "encode", "inputs": {}, "outputs": {}}, "each name once"),
        ("more", 1, "unknown field"),
    ],
)
def test_what_does_not_agree_is_refused(path: str, to: Any, match: str) -> None:
    with pytest.raises(BundleError, match=match):
        interface_from_json(change(plain(whole()), path, to))


def test_a_state_without_decode_is_refused() -> None:
    interface = whole()
    with pytest.raises(BundleError, match="without decode"):
        checked(dataclasses.replace(interface, functions=interface.functions[:1]))


def test_a_state_of_many_gigabytes_is_refused() -> None:
    with pytest.raises(BundleError) as refused:
        captioner({**DIMS, "P": 1 << 26}, state())
    assert refused.value.code == "bundle.oversized"


def test_attention_comes_with_its_grid() -> None:
    value = plain(whole())
    value["attention"] = {"rows": 2, "columns": 3, "first": 1}
    spec = {"dtype": "float32", "shape": ["B", "P"]}
    value["functions"][1]["outputs"]["attention"] = spec
    assert interface_from_json(value).attention == AttentionGrid(2, 3, 1)


def cached(*more: str, extend: int | None = None, entries: Sequence[str] = ("k", "v")) -> Any:
    """The interface of a captioner with cache entries, as JSON."""
    dims = {"L": 2, "H": 2, "Dh": 4, "P": 4, "T": 8, "V": 9, "E": 3, "h": 8, "w": 8}
    inputs = {name: name for name in entries}
    functions = {
        name: Function("model.onnx", name, inputs, {}) for name in ("encode", "decode", *more)
    }
    return plain(cached_interface(dims, functions, "float16", 1, extend))


def test_a_cache_has_the_entries_of_its_graphs() -> None:
    entries = ("k_0", "k_1", "v_0", "v_1")
    interface = interface_from_json(cached("extend", extend=5, entries=entries))
    found = [(entry.name, entry.kind, entry.layer) for entry in interface.state]
    assert found == [("k_0", "key", 0), ("k_1", "key", 1), ("v_0", "value", 0), ("v_1", "value", 1)]
    assert interface.sizes(interface.function("encode").outputs["v_1"].shape, 1) == (1, 2, 4, 4)
    assert interface.sizes(interface.function("extend").outputs["new_k_0"].shape, 3) == (3, 2, 5, 4)
    (k, v) = interface_from_json(cached()).state
    assert (k.name, interface.sizes(v.shape, 3)) == ("k", (2, 3, 2, 12, 4))


def test_optional_steps_follow_from_the_cache() -> None:
    interface = interface_from_json(cached("decode_stateful", "extend", extend=5))
    stateful, several = interface.function("decode_stateful"), interface.function("extend")
    assert interface.sizes(stateful.inputs["k_image"].shape, 1) == (2, 1, 2, 4, 4)
    assert set(stateful.outputs) == {"logits", "attention"}
    assert interface.sizes(several.outputs["new_v"].shape, 1) == (2, 1, 2, 5, 4)
    assert interface.sizes(several.outputs["logits"].shape, 1) == (1, 5, 9)


@pytest.mark.parametrize(
    ("path", "to", "match"),
    [
        ("functions.2.inputs", {}, "decode_stateful must take token, position and <entry>_image"),
        ("functions.2.outputs", {}, "decode_stateful must return what decode does"),
        ("functions.3.inputs", {}, "extend must take tokens, position and every state entry"),
        ("functions.3.outputs", {}, "extend must return logits and new_<entry>"),
        ("functions.3.inputs.tokens.shape", ["B", 4], "extend must take tokens .* n rows"),
        ("functions.3.inputs.tokens.shape", ["B", "N"], "n a number"),
        ("functions.3.outputs.new_k.shape", ["L", "B", "H", 1, "Dh"], "n rows of an entry"),
    ],
)
def test_optional_steps_that_do_not_agree_are_refused(path: str, to: Any, match: str) -> None:
    value = cached("decode_stateful", "extend", extend=5)
    with pytest.raises(BundleError, match=match):
        interface_from_json(change(value, path, to))


def test_optional_steps_need_their_kind_of_state() -> None:
    value = plain(whole())  # with text and rolling entries
    for name, match in (("extend", "rolling"), ("decode_stateful", "cache entries")):
        more = {"name": name, "inputs": {}, "outputs": {}}
        with pytest.raises(BundleError, match=match):
            interface_from_json({**value, "functions": [*value["functions"], more]})
