"""A bundle of the reference captioner in schema 2: its manifest as hosts upgrade it in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgecap.bundle.io import finalize, open_bundle
from edgecap.bundle.schema2 import ENCODER, TOKENIZER
from edgecap.bundle.text_spec import text_spec_to_json
from edgecap.bundle.upgrade import upgraded
from edgecap.core.typed import dump
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.tokenizer import Tokenizer


def into_schema2(bundle: Path) -> Path:
    """Turn a copy of a bundle of schema 1 into the same of schema 2."""
    manifest = open_bundle(bundle).manifest
    tokenizer = Tokenizer((bundle / TOKENIZER).read_bytes())
    new = upgraded(manifest, tokenizer.id_of, len(tokenizer))
    (bundle / TOKENIZER).rename(bundle / ENCODER)
    (bundle / TOKENIZER).write_bytes(dump(text_spec_to_json(codec_of(tokenizer).spec)))
    finalize(bundle, replace(new, tokenizer=TOKENIZER, encoder=ENCODER))
    return bundle
