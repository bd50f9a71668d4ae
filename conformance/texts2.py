"""Text codecs of schema 2: ids to text, piece by piece, and files that are refused."""

from __future__ import annotations

import json
import random
from typing import Any

from files import Topic, code_of

from edgecap.bundle.text_spec import text_spec_from_json
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.families import byte_characters

_WORDS = [
    "a",
    "the",
    "dog",
    "cat's",
    "n't",
    "'m",
    "'s",
    "do",
    "not",
    ".",
    ",",
    "!",
    "'",
    "##",
    "##s",
    "##n't",
    "é",
    "犬",
    "▁",
    "▁a",
    "▁the",
    "▁▁",
    ".",
    "'ve",
    "'re",
]


def _tokens(family: str, generator: random.Random) -> list[str | None]:
    tokens: list[str | None] = ["<s>", "</s>", *dict.fromkeys(_WORDS), "", " ", " .", "n", "\n"]
    if family == "byte_fallback":
        tokens += [f"<0x{byte:02X}>" for byte in (*range(0x40, 0x48), *range(0x80, 0x100, 3), 0xE2)]
        tokens += ["<0xe2>", "<0x4>", "<0xGG>"]
    if family == "byte_level":
        table = {byte: character for character, byte in byte_characters().items()}
        tokens += [*dict.fromkeys(table[byte] for byte in range(0, 256, 5))]
        for _ in range(30):
            text = generator.choice(["é", "犬", "🐕", " dog", " .", "ab"]).encode()
            tokens.append("".join(table[b] for b in text[: generator.randint(1, len(text))]))
    return [*tokens, None, "last"]


def codecs() -> Topic:
    """For each codec lists of ids, and the pieces that `push` and `finish` give for each of them.

    `clean`: special ids left out; else they are written as well.
    """
    generator = random.Random(5)
    variants: list[dict[str, Any]] = [
        {"family": "byte_fallback"},
        {"family": "byte_fallback", "strip": 2, "clean_up": True},
        {"family": "byte_level", "clean_up": True},
        {"family": "byte_level"},
        {"family": "wordpiece", "clean_tokens": True},
        {"family": "wordpiece", "clean_up": True},
        {"family": "metaspace"},
        {"family": "metaspace", "drop_first": False, "clean_up": True},
    ]
    listed: list[dict[str, Any]] = []
    for variant in variants:
        spec = {**variant, "special": [0, 1], "tokens": _tokens(variant["family"], generator)}
        codec = TextCodec(text_spec_from_json(spec))
        texts = []
        for n in range(60):
            ids = [generator.randrange(len(codec) + 1) for _ in range(generator.randint(0, 14))]
            stream = codec.stream(skip_special=n % 2 == 0)
            pieces = [*map(stream.push, ids), stream.finish()]
            texts.append({"clean": n % 2 == 0, "ids": ids, "pieces": pieces})
        # A JSON text, as a bundle has it.
        listed.append({"file": json.dumps(spec, ensure_ascii=False), "texts": texts})
    return Topic("codecs", codecs=listed, refusals=_codec_refusals())


def _codec_refusals() -> list[dict[str, Any]]:
    good: dict[str, Any] = {"family": "wordpiece", "special": [0], "tokens": ["a", "b"]}
    changes: list[dict[str, Any]] = [
        {"family": "unigram"},
        {"family": 1},
        {"tokens": []},
        {"tokens": "ab"},
        {"tokens": ["a", 1]},
        {"tokens": ["a", "x" * 4097]},
        {"special": [1, 0]},
        {"special": [2]},
        {"special": [-1]},
        {"special": 0},
        {"space": ""},
        {"space": "ab"},
        {"prefix": "#" * 17},
        {"strip": 17},
        {"strip": -1},
        {"strip": 1.5},
        {"clean_up": 1},
        {"unknown": 1},
        {"tokens": ["a", "\ud800"]},
    ]
    refused = []
    for change in changes:
        text = json.dumps({**good, **change})
        refused.append({"file": text, "code": code_of(text_spec_from_json, text)})
    return refused
