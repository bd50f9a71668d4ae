"""The manifest of a captioner with a cache, languages and a grammar, and what is refused of it."""

from __future__ import annotations

import copy
from typing import Any

from rules import plain, small_grammar

# As in manifests2.py: a path into the manifest, and what is put there.
DELETE = "delete!"
_PROMPT = "prompts.en~plain"
_BY_HEAD = "interface.functions.2"
CHANGES: list[tuple[str, Any]] = [
    ("interface.state.0.role", "text"),
    ("interface.state.0.role", "other"),
    ("interface.state.0.shape", ["L", "B", "G", "P", "Dh"]),
    ("interface.state.0.shape", ["L", "G", "C", "Dh"]),
    ("interface.state.0.shape", ["B", "B", "C", "Dh"]),
    ("interface.state.0.shape", ["B", "C", "Dh"]),
    ("interface.state.0.shape", ["B"]),
    ("interface.dims.C", 19),
    ("interface.dims.C", DELETE),
    ("interface.dims.P", DELETE),
    ("interface.dims.Dh", 1 << 29),
    ("interface.attention", None),
    ("interface.functions.0.outputs.k", DELETE),
    ("interface.functions.1.outputs.new_k", DELETE),
    (f"{_BY_HEAD}.inputs.token", DELETE),
    (f"{_BY_HEAD}.inputs.token.dtype", "float32"),
    (f"{_BY_HEAD}.outputs.attention", DELETE),
    (f"{_BY_HEAD}.name", "decode_other"),
    ("languages", []),
    ("languages", "en"),
    ("languages", ["en", "de"]),
    ("languages", DELETE),
    ("styles", []),
    ("styles", ["plain"]),
    ("styles", None),
    (_PROMPT, DELETE),
    (f"{_PROMPT}.early_stopping", "first"),
    (f"{_PROMPT}.early_stopping", "end"),
    ("grammar", None),
    ("grammar", DELETE),
    ("grammar", {}),
    ("grammar.start", {}),
    ("grammar.classes.word", [[4, 65]]),
    ("grammar.states.end", DELETE),
    ("texts", None),
    ("texts", DELETE),
    ("texts.pad", DELETE),
    ("texts.middle", []),
    ("encoder", "other.json"),
]


def cached(base: dict[str, Any]) -> dict[str, Any]:
    """The manifest: `base`, that of manifests2.py, with a cache for its state."""
    made = copy.deepcopy(base)
    interface = made["interface"]
    interface["dims"] |= {"L": 1, "C": interface["dims"]["P"] + interface["dims"]["T"]}
    entries, seen, rows = (
        {name: {"dtype": "float32", "shape": ["L", "B", "G", size, "Dh"]} for name in names}
        for size, names in (("C", ("k", "v")), ("P", ("k", "v")), (1, ("new_k", "new_v")))
    )
    declared = {one["name"]: one for one in interface["functions"]}
    for name in ("seen", "conv"):
        del declared["encode"]["outputs"][name], declared["decode"]["inputs"][name]
    del declared["decode"]["inputs"]["k_0"]
    for name in ("new_k_0", "new_conv"):
        del declared["decode"]["outputs"][name]
    declared["encode"]["outputs"] |= seen
    declared["decode"]["inputs"] |= entries
    declared["decode"]["outputs"] |= rows
    by_head = {"dtype": "float32", "shape": ["B", "L", "G", "P"]}
    declared["decode_attention"] = {
        "name": "decode_attention",
        "inputs": copy.deepcopy(declared["decode"]["inputs"]),
        "outputs": {**declared["decode"]["outputs"], "attention": by_head},
    }
    order = ("encode", "decode", "decode_attention", "encode_text")
    interface["functions"] = [declared[name] for name in order]
    interface["state"] = [
        {"name": name, "role": "cache", "kind": "key", "layer": 0, **tensor}
        for name, tensor in entries.items()
    ]
    made["functions"] = {
        name: {
            "file": "model.tflite",
            "entry": name,
            "inputs": {key: f"in_{key}" for key in declared[name]["inputs"]},
            "outputs": {key: f"out_{key}" for key in declared[name]["outputs"]},
        }
        for name in order
    }
    prompt = {"eos": [1], "max_new_tokens": 14, "pad": 0, "early_stopping": "ended"}
    styles = ["grounded", "plain"]
    made |= {
        "encoder": "prompts.json",
        "prompts": {f"en.{s}": {"begin": [2, 3 + i], **prompt} for i, s in enumerate(styles)},
        "languages": ["en"],
        "styles": styles,
        "grammar": plain(small_grammar()),
        "texts": {"begin": [3], "end": [1], "pad": 0},
    }
    made["files"]["prompts.json"] = made["files"]["tokenizer.json"]
    return made
