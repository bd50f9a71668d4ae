"""A bundle of schema 1 once more in schema 2: what an exporter that writes schema 2 makes of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from edgecap.bundle import schema2
from edgecap.bundle.io import MANIFEST, finalize, open_bundle
from edgecap.bundle.manifest import CERTIFICATE
from edgecap.bundle.text_spec import text_spec_to_json
from edgecap.bundle.upgrade import upgraded
from edgecap.core.typed import dump
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.tokenizer import Tokenizer


def write_twin(bundle: Path, twin: Path) -> Path:
    """`bundle` in schema 2 at `twin`, without what only checks; the tokenizer becomes two files."""
    old = open_bundle(bundle).manifest
    checks = ("golden", CERTIFICATE, MANIFEST, old.tokenizer.file)
    shutil.copytree(bundle, twin, ignore=shutil.ignore_patterns(*checks))
    data = (bundle / old.tokenizer.file).read_bytes()
    tokenizer = Tokenizer(data, old.tokenizer.file)
    (twin / schema2.ENCODER).write_bytes(data)
    (twin / schema2.TOKENIZER).write_bytes(dump(text_spec_to_json(codec_of(tokenizer).spec)))
    new = upgraded(old, tokenizer.id_of, len(tokenizer))
    finalize(twin, replace(new, tokenizer=schema2.TOKENIZER, encoder=schema2.ENCODER))
    return twin
