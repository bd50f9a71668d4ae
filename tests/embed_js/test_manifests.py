"""Manifests of a captioner with a cache and languages: refused in JavaScript as in Python."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from js_edgecap import node
from schema2_twin import write_twin

from edgecap.bundle.schema2 import manifest_from_json
from edgecap.core.errors import BundleError

Change = Callable[[dict[str, Any]], object]


def entry(name: str, value: Any) -> Change:
    return lambda m: m["interface"]["state"][0].__setitem__(name, value)


def dims(letter: str, value: int) -> Change:
    return lambda m: m["interface"]["dims"].__setitem__(letter, value)


def field(name: str, value: Any) -> Change:
    return lambda m: m.__setitem__(name, value)


def prompt(name: str, value: Any) -> Change:
    return lambda m: m["prompts"]["en.plain"].__setitem__(name, value)


def by_head(m: dict[str, Any]) -> dict[str, Any]:
    (found,) = (f for f in m["interface"]["functions"] if f["name"] == "decode_attention")
    return found


CHANGES: dict[str, Change] = {
    "nothing": lambda m: None,
    "a cache without C": entry("shape", ["L", "B", "H", "P", "Dh"]),
    "a cache without rows": entry("shape", ["B"]),
    "a cache without B": entry("shape", ["L", "H", "C", "Dh"]),
    "a cache with B twice": entry("shape", ["B", "B", "H", "C", "Dh"]),
    "an unknown role": entry("role", "other"),
    "another role": entry("role", "text"),
    "C that is not P + T": dims("C", 4),
    "no C": lambda m: m["interface"]["dims"].pop("C"),
    "a cache too large": dims("Dh", 1 << 24),
    "no languages": field("languages", []),
    "no styles": field("styles", []),
    "neither": lambda m: (m.pop("languages"), m.pop("styles")),
    "one language more": lambda m: m["languages"].append("xx"),
    "one prompt less": lambda m: m["prompts"].pop("en.plain"),
    "languages that are no list": field("languages", "en"),
    "no grammar": lambda m: m.pop("grammar"),
    "no grammar, said": field("grammar", None),
    "a grammar without starts": lambda m: m["grammar"]["start"].clear(),
    "a grammar beyond V": lambda m: m["grammar"]["classes"].__setitem__("word", [[9, 1 << 20]]),
    "no texts": lambda m: m.pop("texts"),
    "texts without pad": lambda m: m["texts"].pop("pad"),
    "texts with more": lambda m: m["texts"].__setitem__("middle", []),
    "beams that end otherwise": prompt("early_stopping", "later"),
    "beams as transformers": prompt("early_stopping", "never"),
    "an unknown function": lambda m: m["interface"]["functions"][0].__setitem__("name", "other"),
    "attention by head of other inputs": lambda m: by_head(m)["inputs"].pop("token"),
    "attention by head of another type": lambda m: by_head(m)["inputs"]["token"].__setitem__(
        "dtype", "float32"
    ),
    "attention without its grid": lambda m: m["interface"].__setitem__("attention", None),
}


def code_in_python(manifest: dict[str, Any]) -> str | None:
    try:
        manifest_from_json(manifest)
    except BundleError as error:
        return error.code
    return None


@pytest.fixture(scope="module")
def manifest(tiny_attention_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    twin = write_twin(tiny_attention_bundle, tmp_path_factory.mktemp("twin") / "bundle")
    return json.loads((twin / "manifest.json").read_bytes())


def test_manifests_are_refused_as_in_python(manifest: Any, tmp_path: Path) -> None:
    changed = [copy.deepcopy(manifest) for _ in CHANGES]
    for change, one in zip(CHANGES.values(), changed, strict=True):
        change(one)
    expected = dict(zip(CHANGES, map(code_in_python, changed), strict=True))
    assert expected["nothing"] is None
    assert len([code for code in expected.values() if code]) > 15
    listed = tmp_path / "manifests.json"
    listed.write_text(json.dumps(changed))
    ran = node("manifests.mjs", str(listed))
    assert ran.returncode == 0, ran.stderr
    assert dict(zip(CHANGES, json.loads(ran.stdout), strict=True)) == expected
