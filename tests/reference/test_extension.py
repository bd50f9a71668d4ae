"""Languages and tokens behind the shipped ones: where they go, and what is refused."""

from __future__ import annotations

import json

import pytest

from edgecap.core.errors import EdgecapError, InputError
from edgecap.reference.extension import Extension, check_code
from edgecap.reference.shipped import shipped_tokenizer, tokenizer_data
from edgecap.reference.tokens import ID, LANGUAGES
from edgecap.runtime.tokenizer import Tokenizer

KNOWN = "Ein roter Kreis, 两只狗, 赤い円 and the lion's tail (naïve)."


def extended(extension: Extension) -> Tokenizer:
    return Tokenizer(tokenizer_data(extension))


def test_nothing_to_add_changes_no_byte() -> None:
    assert tokenizer_data(Extension()) == tokenizer_data()


def test_languages_take_the_reserved_ids_and_move_none() -> None:
    extension = Extension().with_language("nl").with_language("sv").with_language("pt-br")
    assert extension.languages == (*LANGUAGES, "nl", "sv", "pt-br")
    assert extension.with_language("sv") == extension
    tokenizer, shipped = extended(extension), shipped_tokenizer()
    assert tokenizer.id_of("<nl>") == extension.token_id("nl") == ID["<nl>"]
    assert tokenizer.id_of("<sv>") == extension.token_id("sv") == ID["<x0>"]
    assert tokenizer.id_of("<pt-br>") == ID["<x1>"]
    assert len(tokenizer) == len(shipped)
    assert tokenizer.encode(KNOWN) == shipped.encode(KNOWN)
    assert tokenizer.encode("<sv>", allow_special=True)[-1] == ID["<x0>"]


def test_new_tokens_follow_the_last_and_shorten_their_own_script_only() -> None:
    words = Extension().with_tokens(("빨", "간", "▁빨", "▁빨간"), (("▁", "빨"), ("▁빨", "간")))
    tokenizer, shipped = extended(words), shipped_tokenizer()
    assert tokenizer.encode("빨간") == [len(shipped) + 3]
    assert len(shipped.encode("빨간")) == 7
    assert tokenizer.decode(tokenizer.encode(KNOWN + " 빨간 원")) == KNOWN + " 빨간 원"
    assert tokenizer.encode(KNOWN) == shipped.encode(KNOWN)


def test_the_library_reads_the_extended_file_the_same() -> None:
    from tokenizers import Tokenizer as Library

    words = Extension(("en", "ko")).with_tokens(("빨", "간", "빨간"), (("빨", "간"),))
    library = Library.from_str(tokenizer_data(words).decode())
    for text in (KNOWN, "빨간 원, 빨 간 red빨간blue"):
        assert extended(words).encode(text) == library.encode(" " + text).ids


def test_what_is_written_reads_back() -> None:
    extension = Extension().with_language("ko").with_tokens(("원", "▁원"), (("▁", "원"),))
    assert Extension.from_json(extension.to_json()) == extension


@pytest.mark.parametrize("code", ["", "x", "x0", "NL", "dutch", "n l", "pad", "eos", "../nl"])
def test_what_is_no_language_code_is_refused(code: str) -> None:
    with pytest.raises(InputError, match="not a language code"):
        check_code(code)


def test_there_are_six_ids_for_other_languages() -> None:
    six = Extension(("en", "sv", "da", "pl", "fi", "tr", "cs"))
    with pytest.raises(EdgecapError) as refused:
        six.with_language("hu")
    assert refused.value.code == "language.full"
    assert six.with_language("nl").token_id("nl") == ID["<nl>"]  # has one of its own


def test_a_token_that_is_there_already_is_refused() -> None:
    with pytest.raises(InputError, match="in the vocabulary already"):
        tokenizer_data(Extension(tokens=("▁",)))


@pytest.mark.parametrize(
    "change",
    [
        {"languages": ["en", "en"]},
        {"languages": ["english"]},
        {"tokens": [1]},
        {"tokens": ["a", "a"]},
        {"tokens": ["\ud800"]},
        {"merges": [["a"]]},
        {"more": []},
    ],
)
def test_altered_metadata_is_refused(change: dict[str, object]) -> None:
    value = json.loads(Extension().to_json()) | change
    with pytest.raises(InputError):
        Extension.from_json(json.dumps(value))
    with pytest.raises(InputError, match="cannot be read"):
        Extension.from_json("[")
