"""Manifests of schema 1 as they are run; conformance vectors hold what is refused."""

from __future__ import annotations

import json
from pathlib import Path

from js_edgecap import node

from edgecap.bundle.io import open_bundle
from edgecap.bundle.schema2 import manifest_to_json
from edgecap.bundle.upgrade import upgraded
from edgecap.runtime.tokenizer import Tokenizer


def test_schema_1_is_upgraded_as_in_python(tiny_attention_bundle: Path) -> None:
    old = open_bundle(tiny_attention_bundle).manifest
    tokenizer = Tokenizer((tiny_attention_bundle / old.tokenizer.file).read_bytes())
    new = manifest_to_json(upgraded(old, tokenizer.id_of, len(tokenizer)))
    expected = json.loads(json.dumps(new))
    ran = node("upgraded.mjs", str(tiny_attention_bundle))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    for one in (expected, found):
        one["interface"]["functions"].sort(key=lambda function: function["name"])
    assert found == expected
