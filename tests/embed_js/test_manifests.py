"""Manifests of schema 1 as they are run; conformance vectors hold what is refused."""

from __future__ import annotations

import json
from pathlib import Path

from js_edgecap import node
from schema1 import schema1_twin

from edgecap.bundle.io import open_bundle
from edgecap.bundle.manifest import manifest_to_json
from edgecap.runtime.loading import as_schema2


def test_schema_1_is_upgraded_as_in_python(tiny_attention_bundle: Path, tmp_path: Path) -> None:
    twin = schema1_twin(tiny_attention_bundle, tmp_path / "twin")
    expected = json.loads(json.dumps(manifest_to_json(as_schema2(open_bundle(twin)).manifest)))
    ran = node("upgraded.mjs", str(twin))
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    for one in (expected, found):
        one["interface"]["functions"].sort(key=lambda function: function["name"])
    assert found == expected
