"""Reading a manifest: one that is accepted, and for each refusal the change that earns it.

A case replaces text of `base` (each pair once, at its first place) and is then read; `code` is null
where it is accepted. Cases with `base64` are whole files that are no UTF-8 or no JSON.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from files import Topic
from rules import plain, small_grammar

from edgecap.bundle.schemas import manifest_from_json
from edgecap.core.errors import BundleError
from edgecap.core.typed import parse

MANIFEST = "manifest.json"
_HASH = "0123456789abcdef" * 4


def base() -> str:
    """A small manifest of schema 1, as a bundle would have it."""
    ports = {
        "encode_image": (["image"], ["k", "v", "image_embedding"]),
        "decode": (["token", "position", "k", "v"], ["logits", "k_new", "v_new", "attention"]),
        "encode_text": (["tokens", "length"], ["text_embedding"]),
    }
    functions = {
        name: {
            "file": "model.tflite",
            "entry": name,
            "inputs": {port: f"in_{port}" for port in inputs},
            "outputs": {port: f"out_{port}" for port in outputs},
        }
        for name, (inputs, outputs) in ports.items()
    }
    contract = {"layers": 2, "heads": 3, "head_width": 8, "patches": 4, "text_length": 24}
    contract |= {"vocabulary": 40, "embedding": 5, "cache": "float32", "batch": 1}
    value = {
        "schema": 1,
        "name": "small-tflite-w8",
        "model": "small",
        "format": "tflite",
        "precision": "w8",
        "contract": contract | {"functions": functions},
        "preprocessing": {
            "size": 32,
            "fit": "contain",
            "resample": "bilinear",
            "anchor": "centre",
            "fill": 127,
            "channels": "RGB",
        },
        "tokenizer": {
            "file": "tokenizer.json",
            "sha256": _HASH,
            "pad": "<pad>",
            "eos": "<eos>",
            "text": "<text>",
        },
        "languages": ["en", "ja"],
        "styles": ["grounded", "plain"],
        "coordinates": {"order": "x0y0x1y1", "bins": 5, "bin_px": 4, "first": "<loc_00>"},
        "grammar": plain(small_grammar()),
        "plan": {"any": [1.5, None, {"thing": True}]},
        "tools": {"edgecap": "0.1.0"},
        "license": "Apache-2.0",
        "files": {
            "model.tflite": {"sha256": _HASH, "size": 10},
            "tokenizer.json": {"sha256": _HASH, "size": 20},
            "golden/a.npy": {"sha256": _HASH[::-1], "size": 0},
        },
        "weights": _HASH,
    }
    return json.dumps(value, indent=1) + "\n"


# name, then pairs of (text, replacement); the code is what Python answers.
CHANGES: list[tuple[str, list[tuple[str, str]]]] = [
    ("as it is", []),
    ("a field of another tool", [('"schema": 1', '"x_mine": {"a": [1]}, "schema": 1')]),
    ("no weights known", [(f'"weights": "{_HASH}"', '"weights": null')]),
    ("an older bundle, without weights", [(f',\n "weights": "{_HASH}"', "")]),
    ("any batch", [('"batch": 1', '"batch": null')]),
    ("a cache of halves", [('"cache": "float32"', '"cache": "float16"')]),
    ("an escaped name", [('"name": "small', '"name": "sm\\u0061ll\\ud83d\\udc36')]),
    ("schema 3", [('"schema": 1', '"schema": 3')]),
    ("schema true", [('"schema": 1', '"schema": true')]),
    ("schema 1.0", [('"schema": 1', '"schema": 1.0')]),
    ("no schema", [('"schema": 1,', "")]),
    ("an unknown field", [('"schema": 1', '"extra": 1, "schema": 1')]),
    ("an unknown field deeper", [('"layers": 2', '"layer": 2, "layers": 2')]),
    ("a missing field", [('"license": "Apache-2.0",', "")]),
    ("a missing field deeper", [('"heads": 3,', "")]),
    ("a key twice", [('"schema": 1', '"schema": 1, "schema": 1')]),
    ("a key twice, once escaped", [('"schema": 1', '"name": "a", "n\\u0061me": "b", "schema": 1')]),
    ("NaN", [('"any"', '"x": NaN, "any"')]),
    ("-Infinity", [('"any"', '"x": -Infinity, "any"')]),
    ("a comma too many", [('"license": "Apache-2.0",', '"license": "Apache-2.0",,')]),
    ("a comma at the end", [('"precision"', '"x_a": [1,], "precision"')]),
    ("a number with a leading zero", [('"layers": 2', '"layers": 02')]),
    ("a number with a plus", [('"layers": 2', '"layers": +2')]),
    ("a number that ends in a point", [('"layers": 2', '"layers": 2.')]),
    ("a tab in a string", [('"small"', '"sm\tall"')]),
    ("an unknown escape", [('"small"', '"sm\\all"')]),
    ("text after the end", [('{\n "schema"', '{}{\n "schema"')]),
    ("single quotes", [('"small"', "'small'")]),
    ("a text for a number", [('"layers": 2', '"layers": "2"')]),
    ("a fraction for a whole number", [('"layers": 2', '"layers": 2.0')]),
    ("an exponent for a whole number", [('"layers": 2', '"layers": 2e0')]),
    ("true for a number", [('"layers": 2', '"layers": true')]),
    ("a number for a text", [('"model": "small"', '"model": 1')]),
    ("a list for an object", [('"tools": {\n  "edgecap": "0.1.0"\n }', '"tools": []')]),
    ("null for a text", [('"model": "small"', '"model": null')]),
    ("a number of 65 bits", [('"layers": 2', '"layers": 18446744073709551616')]),
    ("a number of 64 bits", [('"layers": 2', '"layers": 9223372036854775807')]),
    ("a number below 64 bits", [('"layers": 2', '"layers": -9223372036854775809')]),
    ("a language that is no text", [('"ja"', "5")]),
    ("no layers", [('"layers": 2', '"layers": 0')]),
    ("negative heads", [('"heads": 3', '"heads": -3')]),
    ("patches that are no square", [('"patches": 4', '"patches": 5')]),
    ("a huge cache", [('"text_length": 24', '"text_length": 4000000000000')]),
    ("a cache just too large", [('"text_length": 24', '"text_length": 5592405')]),
    ("a huge vocabulary", [('"vocabulary": 40', '"vocabulary": 4194305')]),
    ("a huge embedding", [('"embedding": 5', '"embedding": 65537')]),
    ("a cache of bytes", [('"cache": "float32"', '"cache": "int8"')]),
    ("batch 2", [('"batch": 1', '"batch": 2')]),
    ("a function less", [('"encode_text": {', '"x_encode_text": {')]),
    ("a function more", [('"encode_text": {', '"other": {}, "encode_text": {')]),
    ("an input less", [('"token": "in_token",', "")]),
    ("an input more", [('"token": "in_token",', '"token": "in_token", "x_a": "b",')]),
    ("an output renamed", [('"logits": "out_logits"', '"scores": "out_logits"')]),
    ("a file that is not listed", [('"file": "model.tflite"', '"file": "other.tflite"')]),
    ("a directory that is no package", [('"file": "model.tflite"', '"file": "golden"')]),
    ("a path upwards", [('"golden/a.npy"', '"../a.npy"')]),
    ("an absolute path", [('"golden/a.npy"', '"/a.npy"')]),
    ("a hidden file", [('"golden/a.npy"', '"golden/.a"')]),
    ("a name that begins with a dash", [('"golden/a.npy"', '"-a"')]),
    ("a name with a space", [('"golden/a.npy"', '"a b"')]),
    ("a name with a backslash", [('"golden/a.npy"', '"a\\\\b"')]),
    ("a name that ends in a newline", [('"golden/a.npy"', '"a\\n"')]),
    ("an empty name", [('"golden/a.npy"', '""')]),
    ("an empty folder name", [('"golden/a.npy"', '"golden//a"')]),
    ("a name of 101 characters", [('"golden/a.npy"', '"' + "a" * 101 + '"')]),
    ("a name of 100 characters", [('"golden/a.npy"', '"' + "a" * 100 + '"')]),
    ("four folders", [('"golden/a.npy"', '"a/b/c/d/e"')]),
    ("five folders", [('"golden/a.npy"', '"a/b/c/d/e/f"')]),
    ("it lists itself", [('"golden/a.npy"', '"manifest.json"')]),
    ("upper and lower case", [('"golden/a.npy"', '"Model.tflite"')]),
    ("a hash in upper case", [(_HASH[::-1], _HASH[::-1].upper())]),
    ("a short hash", [(_HASH[::-1], "ab")]),
    ("a negative size", [('"size": 0', '"size": -1')]),
    ("another fit", [('"contain"', '"cover"')]),
    ("another filter", [('"bilinear"', '"bicubic"')]),
    ("another anchor", [('"centre"', '"corner"')]),
    ("other channels", [('"channels": "RGB"', '"channels": "BGR"')]),
    ("size 0", [('"size": 32', '"size": 0')]),
    ("size 4097", [('"size": 32', '"size": 4097')]),
    ("fill 256", [('"fill": 127', '"fill": 256')]),
    ("fill -1", [('"fill": 127', '"fill": -1')]),
    ("another order of edges", [('"x0y0x1y1"', '"x0x1y0y1"')]),
    ("one bin", [('"bins": 5', '"bins": 1')]),
    ("bins of nothing", [('"bin_px": 4', '"bin_px": 0')]),
    ("a class beyond the vocabulary", [('"vocabulary": 40', '"vocabulary": 39')]),
    ("no way to the end token", [('"to": "end"', '"to": "text"')]),
    ("an unknown state", [('"to": "x0"', '"to": "x9"')]),
    ("weights that are no hash", [(f'"weights": "{_HASH}"', '"weights": "abc"')]),
    ("no languages", [('"en",\n  "ja"', "")]),
    ("no styles", [('"grounded",\n  "plain"', "")]),
    ("no tokenizer", [('"file": "tokenizer.json"', '"file": "tokens.json"')]),
    ("another tokenizer", [(f'"sha256": "{_HASH}"', f'"sha256": "{_HASH[::-1]}"')]),
]


def files() -> dict[str, bytes]:
    text = base().encode()
    deep = b'{"schema": 1, "x_a": ' + b"[" * 100_000
    return {
        "nothing": b"",
        "white space": b" \n",
        "a list": b"[1]",
        "a number": b"1",
        "a text": b'"schema"',
        "null": b"null",
        "cut short": text[: len(text) // 2],
        "cut in a string": text[:20],
        "a byte order mark": b"\xef\xbb\xbf" + text[:30],
        "not UTF-8": text.replace(b"small", b"sm\xffll")[:200],
        "UTF-8 too long": text.replace(b"small", b"sm\xc0\xafll")[:200],
        "a surrogate": text.replace(b"small", b"sm\xed\xa0\x80ll")[:200],
        "a null byte": text.replace(b"small", b"sm\x00ll")[:200],
        "deep": deep[:2000],
    }


def code_of(data: bytes) -> str | None:
    """What Python refuses a manifest with; None where it takes it."""
    try:
        manifest_from_json(parse(data, MANIFEST))
    except BundleError as error:
        return error.code
    return None


def changed(text: str, changes: list[Any]) -> str:
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{old!r} is not in the base")
        text = text.replace(old, new, 1)
    return text


def manifests() -> Topic:
    text = base()
    cases = []
    for name, changes in CHANGES:
        code = code_of(changed(text, changes).encode())
        cases.append({"name": name, "replace": [list(c) for c in changes], "code": code})
    whole = [
        {"name": name, "base64": base64.b64encode(data).decode(), "code": code_of(data)}
        for name, data in files().items()
    ]
    return Topic("manifests", base=text, cases=cases, files=whole)
