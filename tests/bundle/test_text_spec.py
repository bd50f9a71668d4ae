"""A stranger's text file is bounded and checked before it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from edgecap.bundle.text_spec import MAX_TOKENS, text_spec_from_json
from edgecap.core.errors import BundleError
from edgecap.runtime.text import TextCodec

GOOD: dict[str, Any] = {"family": "wordpiece", "tokens": ["a", None, "##b"], "special": [0]}


def test_defaults_are_those_of_the_family() -> None:
    spec = text_spec_from_json(GOOD | {"x_note": 1})
    assert (spec.prefix, spec.clean_up, spec.tokens) == ("##", False, ("a", None, "##b"))


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"family": "sentencepiece"}, "tokenizer.unsupported", "family is 'sentencepiece'"),
        ({"tokens": "abc"}, "tokenizer.unsupported", "no list of tokens"),
        ({"tokens": []}, "tokenizer.unsupported", "has 0 tokens"),
        ({"tokens": ["a", 3]}, "tokenizer.unsupported", "strings or null"),
        ({"tokens": [None] * (MAX_TOKENS + 1)}, "tokenizer.unsupported", "tokens; allowed"),
        ({"tokens": ["a" * 5000]}, "tokenizer.unsupported", "characters"),
        ({"tokens": ["\ud800"]}, "tokenizer.unsupported", "lone surrogate"),
        ({"special": [3]}, "tokenizer.unsupported", "special must be"),
        ({"special": [-1]}, "tokenizer.unsupported", "special must be"),
        ({"special": [2, 0]}, "tokenizer.unsupported", "special must be"),
        ({"space": "__"}, "tokenizer.unsupported", "space must be one character"),
        ({"strip": 1 << 40}, "tokenizer.unsupported", "strip at most 16"),
        ({"pattern": "(a+)+$"}, "bundle.unknown_field", "'pattern'"),
        ({"clean_up": "yes"}, "bundle.field_type", "clean_up"),
    ],
)
def test_nonsense_is_refused_by_name(change: dict[str, Any], code: str, named: str) -> None:
    with pytest.raises(BundleError) as caught:
        text_spec_from_json(GOOD | change)
    assert caught.value.code == code
    assert named in caught.value.message


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff", b'{"family":"byte_level"}', b"[" * 10**5]
)
def test_bytes_that_are_no_text_file_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        TextCodec.from_bytes(data)
