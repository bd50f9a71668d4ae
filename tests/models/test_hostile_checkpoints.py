"""Whatever a checkpoint's files say, the answer is a spec or one refusal that names the cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hostile_json import VALUES, spoilt

from edgecap.bundle.generation_spec import GenerationSpec
from edgecap.bundle.image_spec import ImageSpec
from edgecap.bundle.text_spec import TextSpec
from edgecap.core.errors import InputError, UnsupportedError
from edgecap.models.translate import Checkpoint, generation_spec, image_spec, text_spec
from edgecap.models.translate.generation import KNOWN
from edgecap.models.translate.image import DEFAULTS


def write(directory: Path, name: str, value: Any) -> Checkpoint:
    (directory / name).write_text(json.dumps(value))
    return Checkpoint(directory)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_image_processors(kind: str, tmp_path: Path) -> None:
    more = {"do_convert_rgb": True, "crop_size": 8, "do_pad": None, "use_square_size": None}
    good = {"image_processor_type": f"{kind}ImageProcessor"} | DEFAULTS[kind] | more
    refused = 0
    for value in spoilt(json.loads(json.dumps(good))):
        try:
            spec, _ = image_spec(write(tmp_path, "preprocessor_config.json", value))
            assert isinstance(spec, ImageSpec)
        except (InputError, UnsupportedError):
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("mode", [{}, {"do_sample": True}, {"num_beams": 2}], ids=str)
def test_generation_configs(mode: dict[str, Any], tmp_path: Path) -> None:
    refused = 0
    for name in sorted(KNOWN):
        for value in VALUES:
            source = write(tmp_path, "generation_config.json", mode | {name: value})
            try:
                assert isinstance(generation_spec(source, begin=(2,)), GenerationSpec)
            except (InputError, UnsupportedError):
                refused += 1
    assert refused > 100


REPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
STEPS = [REPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP]
ADDED = {"id": 2, "content": "<s>", "special": True, "normalized": True}
BPE = {"type": "BPE", "vocab": {"a": 0, "b": 1}}
UNIGRAM = {"type": "Unigram", "vocab": [["a", 0.0], ["b", -1.0]]}
FILES: list[dict[str, Any]] = [
    {"model": BPE, "decoder": {"type": "ByteLevel"}, "added_tokens": [ADDED]},
    {"model": BPE, "decoder": {"type": "Sequence", "decoders": STEPS}, "added_tokens": []},
    {"model": BPE, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}},
    {
        "model": UNIGRAM,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"},
        "added_tokens": [ADDED],
        "normalizer": {"type": "Lowercase"},
    },
]


@pytest.mark.parametrize("good", FILES, ids=lambda file: file["decoder"]["type"])
def test_tokenizers(good: dict[str, Any], tmp_path: Path) -> None:
    refused = 0
    for value in spoilt(good):
        try:
            spec = text_spec(write(tmp_path, "tokenizer.json", value))
            assert isinstance(spec, TextSpec)
        except (InputError, UnsupportedError):
            refused += 1
    assert refused > 100


def test_tokenizer_configs(tmp_path: Path) -> None:
    write(tmp_path, "tokenizer.json", FILES[0])
    good = {
        "eos_token": {"content": "<s>"},
        "additional_special_tokens": ["a"],
        "model_specific_special_tokens": {"image_token": "b"},
        "added_tokens_decoder": {"2": ADDED},
        "clean_up_tokenization_spaces": True,
    }
    refused = 0
    for value in spoilt(good):
        try:
            assert text_spec(write(tmp_path, "tokenizer_config.json", value)).tokens[0] == "a"
        except (InputError, UnsupportedError):
            refused += 1
    assert refused > 20
