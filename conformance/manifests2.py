"""Manifests of schema 2 with one change each, and the code of the refusal, or null."""

from __future__ import annotations

import copy
import json
from typing import Any

from files import Topic, code_of
from manifests_cached import CHANGES as CACHED
from manifests_cached import cached
from manifests_crops import CHANGES as IN_CROPS
from manifests_crops import in_crops
from regions2 import MARKS

from edgecap.bundle.schemas import manifest_from_json

_HASH = "0123456789abcdef" * 4


def base() -> dict[str, Any]:
    """A small manifest of schema 2: one layer, a rolling entry, attention, regions, embeddings."""
    state = [
        ("seen", "image", ["B", "G", "P", "Dh"]),
        ("k_0", "text", ["B", "G", "T", "Dh"]),
        ("conv", "rolling", ["B", 3, "D"]),
    ]
    tensors = {n: {"dtype": "float32", "shape": s} for n, _, s in state}
    row = {"dtype": "float32", "shape": ["B", "G", 1, "Dh"]}

    def whole(*shape: Any, dtype: str = "int32") -> dict[str, Any]:
        return {"dtype": dtype, "shape": ["B", *shape]}

    embedding = whole("E", dtype="float32")
    declared = {
        "encode": (
            {"image": whole("h", "w", 3, dtype="uint8")},
            {"seen": tensors["seen"], "conv": tensors["conv"], "image_embedding": embedding},
        ),
        "decode": (
            {"token": whole(1), "position": whole(), **tensors},
            {
                "logits": whole("V", dtype="float32"),
                "new_k_0": row,
                "new_conv": tensors["conv"],
                "attention": whole("P", dtype="float32"),
            },
        ),
        "encode_text": (
            {"tokens": whole("N"), "length": whole()},
            {"text_embedding": embedding},
        ),
    }
    return {
        "schema": 2,
        "name": "tiny",
        "model": {"family": "any", "source": "made", "license": "MIT", "weights": _HASH},
        "format": "tflite",
        "precision": "fp32",
        "interface": {
            "dims": {
                **{"h": 20, "w": 24, "G": 2, "P": 4, "T": 16, "Dh": 8, "D": 6},
                **{"V": 64, "E": 5, "N": 7},
            },
            "functions": [
                {"name": name, "inputs": inputs, "outputs": outputs}
                for name, (inputs, outputs) in declared.items()
            ],
            "state": [
                {"name": n, "role": r, "kind": "key", "layer": 0, "shape": s, "dtype": "float32"}
                for n, r, s in state
            ],
            "attention": {"rows": 2, "columns": 2, "first": 0},
            "batch": 1,
        },
        "functions": {
            name: {
                "file": "model.tflite",
                "entry": name,
                "inputs": {key: f"in_{key}" for key in inputs},
                "outputs": {key: f"out_{key}" for key in outputs},
            }
            for name, (inputs, outputs) in declared.items()
        },
        "image": {"size": [20, 24], "fit": "contain", "filter": "bicubic", "background": None},
        "tokenizer": "tokenizer.json",
        "encoder": None,
        "prompts": {
            "caption": {"begin": [1], "eos": [2], "max_new_tokens": 16, "length_penalty": 1},
            "long": {"begin": [1, 2], "eos": [], "max_new_tokens": 5, "pad": None},
        },
        "regions": {"codec": "loc1000", "first": 30, "count": 30, "marks": {}},
        "plan": {"any": [1, None]},
        "tools": {"edgecap": "0"},
        "files": {
            "model.tflite": {"sha256": _HASH, "size": 5},
            "tokenizer.json": {"sha256": _HASH, "size": 5},
        },
    }


# A path into the manifest, and what is put there; DELETE takes the field away.
DELETE = "delete!"
CHANGES: list[tuple[str, Any]] = [
    ("x_mine", 1),
    ("unknown", 1),
    ("name", DELETE),
    ("name", 3),
    ("schema", 2.0),
    ("schema", 3),
    ("model.weights", None),
    ("model.weights", "abc"),
    ("model.weights", DELETE),
    ("model.license", DELETE),
    ("model.x", 1),
    ("tools.edgecap", 1),
    ("plan", []),
    ("files.model~tflite.size", -1),
    ("files.model~tflite.sha256", "0"),
    ("files.model~tflite", DELETE),
    ("files.tokenizer~json", DELETE),
    ("files.MODEL~tflite", {"sha256": _HASH, "size": 1}),
    ("files.~~/a", {"sha256": _HASH, "size": 1}),
    ("interface.dims.h", 0),
    ("interface.dims.h", 21),
    ("interface.dims.h", "a"),
    ("interface.dims.B", 1),
    ("interface.dims.V", 1 << 31),
    ("interface.dims.T", 17),
    ("interface.dims.T", 15),
    ("interface.dims.Dh", 1 << 29),
    ("interface.batch", None),
    ("interface.batch", 2),
    ("interface.batch", "1"),
    ("interface.attention", None),
    ("interface.attention.rows", "2"),
    ("interface.attention.rows", DELETE),
    ("interface.state.0.role", "text"),
    ("interface.state.0.role", "cache"),
    ("interface.state.0.name", "Seen"),
    ("interface.state.0.name", "k_0"),
    ("interface.state.0.layer", 1.5),
    ("interface.state.0.dtype", "float64"),
    ("interface.state.0.shape", []),
    ("interface.state.0.shape", ["G", "P"]),
    ("interface.state.0.shape", ["B", "Q"]),
    ("interface.state.0.shape", ["B", 0]),
    ("interface.state.0.shape", ["B", -1]),
    ("interface.state.0.shape", ["B", "B"]),
    ("interface.state.1.shape", ["B", "G", 16, "Dh"]),
    ("interface.state.1.shape", ["B", "T", "Dh"]),
    ("interface.functions.0.name", "encode_image"),
    ("interface.functions.0.name", "decode"),
    ("interface.functions.0.outputs.more", {"dtype": "int32", "shape": ["B"]}),
    ("interface.functions.1.outputs.logits", DELETE),
    ("interface.functions.1.inputs.token.dtype", "int8"),
    ("interface.functions.1.inputs.token.shape", ["B", 1.5]),
    ("interface.functions.1.inputs.token.x", 1),
    ("interface.functions.2", DELETE),
    ("functions.encode_text", DELETE),
    ("functions.decode.inputs.token", DELETE),
    ("functions.decode.outputs.more", "more"),
    ("functions.decode.file", "other.tflite"),
    ("functions.decode.entry", None),
    ("image.size", [20, 25]),
    ("image.size", [20]),
    ("image.size", [20, 5000]),
    ("image.fit", "crop"),
    ("image.fit", "cover"),
    ("image.filter", "cubic"),
    ("image.fill", 256),
    ("image.fill", None),
    ("image.background", -1),
    ("image.crop", [20, 24]),
    ("image.crops", {"side": 20, "split": False}),
    ("image.channels", "GRB"),
    ("image.wide", "low"),
    ("image.mean", [1]),
    ("tokenizer", None),
    ("tokenizer", "other.json"),
    ("encoder", "other.json"),
    ("encoder", "tokenizer.json"),
    ("prompts", {}),
    ("prompts.caption.begin", []),
    ("prompts.caption.begin", [64]),
    ("prompts.caption.begin", [-1]),
    ("prompts.caption.begin", DELETE),
    ("prompts.caption.prefix", [640]),
    ("prompts.caption.max_new_tokens", 0),
    ("prompts.caption.max_new_tokens", 17),
    ("prompts.caption.min_new_tokens", 17),
    ("prompts.caption.beams", 0),
    ("prompts.caption.beams", 32),
    ("prompts.caption.beams", 33),
    ("prompts.caption.early_stopping", "soon"),
    ("prompts.caption.early_stopping", "never"),
    ("prompts.caption.length_penalty", "1"),
    ("prompts.caption.length_penalty", 101),
    ("prompts.caption.repetition_penalty", 0),
    ("prompts.caption.no_repeat_ngram", -1),
    ("prompts.caption.forced_first", 64),
    ("prompts.caption.suppress", [9999]),
    ("prompts.caption.sampling", {"temperature": 0}),
    ("prompts.caption.sampling", {"top_k": 5, "top_p": 0.5}),
    ("prompts.caption.sampling", {"top": 5}),
    ("regions", None),
    ("regions.codec", "loc"),
    ("regions.first", 40),
    ("regions.count", 1),
    ("regions.bin_px", 4),
    ("regions.marks", DELETE),
    ("regions.marks", MARKS),
    ("regions", {"codec": "cells2", "first": 30, "count": 25, "marks": MARKS}),
    ("regions", {"codec": "cells2", "first": 30, "count": 26, "marks": MARKS}),
    ("regions", {"codec": "cells2", "first": 30, "count": 25, "marks": {**MARKS, "phrase": 31}}),
    ("regions", {"codec": "cells2", "first": 30, "count": 25, "marks": {**MARKS, "phrase": 3}}),
    ("regions", {"codec": "edges4", "first": 30, "count": 25, "bin_px": 4, "marks": {}}),
]


def _changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    made = copy.deepcopy(manifest)
    place: Any = made
    *folders, last = [part.replace("~", ".") for part in path.split(".")]
    for part in folders:
        place = place[int(part)] if isinstance(place, list) else place[part]
    key: Any = int(last) if isinstance(place, list) else last
    if value == DELETE:
        del place[key]
    else:
        place[key] = value
    return made


def _without_text_rows() -> dict[str, Any]:
    """A model whose state is rolling alone, and which limits the length of a text nowhere."""
    made = copy.deepcopy(base())
    interface, functions = made["interface"], made["functions"]
    del interface["dims"]["T"], interface["state"][1]
    decode = interface["functions"][1]
    del decode["inputs"]["k_0"], decode["outputs"]["new_k_0"]
    del functions["decode"]["inputs"]["k_0"], functions["decode"]["outputs"]["new_k_0"]
    return made


def _replacement(text: str, changed: str) -> list[list[str]]:
    """The shortest replacement [old, new] that makes `changed` of `text` at the first `old`."""
    if text == changed:
        return []
    most = min(len(text), len(changed))
    begin = next((i for i in range(most) if text[i] != changed[i]), most)
    same = (i for i in range(most - begin) if text[-1 - i] != changed[-1 - i])
    end = next(same, most - begin)
    while text.find(text[begin : len(text) - end]) != begin or end == len(text) - begin:
        begin -= 1
    return [[text[begin : len(text) - end], changed[begin : len(changed) - end]]]


def _topic(name: str, manifest: dict[str, Any], changed: dict[str, dict[str, Any]]) -> Topic:
    """A manifest and what is changed in it, each with the code of the refusal; null: accepted."""
    cases = []
    base_text = json.dumps(manifest, separators=(",", ":"))
    for case, one in {"as it is": manifest, **changed}.items():
        text = json.dumps(one, separators=(",", ":"))
        code, replace = code_of(manifest_from_json, text), _replacement(base_text, text)
        cases.append({"name": case[:60], "replace": replace, "code": code})
    return Topic(name, base=base_text, cases=cases)


def manifests2() -> Topic:
    changed = {f"{path} {value}": _changed(base(), path, value) for path, value in CHANGES}
    return _topic("manifests2", base(), changed | {"no dimension T": _without_text_rows()})


def manifests_cached() -> Topic:
    manifest = cached(base())
    changes = {f"{path} {value}": _changed(manifest, path, value) for path, value in CACHED}
    return _topic("manifests_cached", manifest, changes)


def manifests_crops() -> Topic:
    manifest = in_crops(base())
    changes = {f"{path} {value}": _changed(manifest, path, value) for path, value in IN_CROPS}
    return _topic("manifests_crops", manifest, changes)
