"""A bundle of schema 1, as exports wrote it before schema 2: the tiny one, its manifest stored."""

from __future__ import annotations

import json
from pathlib import Path

from edgecap.bundle.io import finalize
from edgecap.bundle.manifest import manifest_from_json
from edgecap.bundle.schema2 import ENCODER, TOKENIZER

STORED = Path(__file__).with_name("schema1_manifest.json")


def into_schema1(bundle: Path) -> Path:
    """Turn a copy of the tiny bundle of tiny_onnx.write_bundle into the same of schema 1."""
    (bundle / ENCODER).replace(bundle / TOKENIZER)
    finalize(bundle, manifest_from_json(json.loads(STORED.read_bytes())))
    return bundle
