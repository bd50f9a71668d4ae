"""Decoding equals the tokenizers library and transformers' clean-up, on random lists of ids.

`make test` draws a few thousand lists per family; EDGECAP_ID_LISTS=100000 draws as many as the
release needs (make check-full).
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tokenizers import MADE, save

from edgecap.bundle.text_spec import TextSpec, text_spec_to_json
from edgecap.core.errors import BundleError
from edgecap.models.translate import Checkpoint, text_spec
from edgecap.runtime.text import TextCodec
from edgecap.runtime.text.cleanup import CleanUp, clean_up

LISTS = int(os.environ.get("EDGECAP_ID_LISTS", "2000"))


@pytest.fixture(scope="module", params=list(MADE))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A codec from a bundle's bytes, and transformers' own tokenizer."""
    directory = tmp_path_factory.mktemp("tokenizer")
    theirs = save(request.param, directory)
    spec = text_spec(Checkpoint(directory))
    data = json.dumps(text_spec_to_json(spec), ensure_ascii=False).encode()
    codec = TextCodec.from_bytes(data)
    assert codec.spec == spec
    return codec, theirs


def test_random_ids_decode_as_in_transformers(pair: tuple[TextCodec, Any]) -> None:
    codec, theirs = pair
    generator = np.random.default_rng(11)
    assert len(codec) == len(theirs)
    for n in range(LISTS):
        ids = generator.integers(0, len(codec) + 4, generator.integers(0, 24)).tolist()
        if n % 2:  # the same few tokens often: runs of bytes and marks
            few = generator.integers(0, len(codec), 5)
            ids = few[generator.integers(0, 5, len(ids))].tolist()
        skip = bool(n % 3)
        expected = theirs.decode(ids, skip_special_tokens=skip)
        assert codec.decode(ids, skip_special=skip) == expected, ids


def test_every_token_alone_decodes_as_in_transformers(pair: tuple[TextCodec, Any]) -> None:
    codec, theirs = pair
    special = set(theirs.all_special_ids)
    for i in range(len(codec)):
        assert codec.decode([i], skip_special=False) == theirs.decode([i]), codec.token(i)
        assert codec.is_special(i) == (i in special)


def test_ids_without_a_token_are_left_out(pair: tuple[TextCodec, Any]) -> None:
    codec, _ = pair
    known = codec.decode([3, 4])
    assert codec.decode([-1, 3, len(codec), 4, 1 << 40]) == known
    assert codec.token(len(codec)) is None


def test_a_bad_token_name_is_named() -> None:
    codec = TextCodec(TextSpec("byte_level", ("a", "b"), ()))
    assert codec.id_of("b") == 1
    with pytest.raises(BundleError, match=r"\[tokenizer.token\].*'c'"):
        codec.id_of("c")


def streamed(codec: TextCodec, ids: list[int]) -> list[str]:
    stream = codec.stream()
    return [*map(stream.push, ids), stream.finish()]


def test_a_stream_gives_half_characters_back_whole() -> None:
    tokens = ("æ", "Ĺ", "¥", "Ġx")  # the three bytes of 日, and " x"
    codec = TextCodec(TextSpec("byte_level", tokens, ()))
    assert streamed(codec, [0, 1, 2, 3]) == ["", "", "日", " x", ""]
    assert streamed(codec, [0, 1]) == ["", "", "\ufffd"]
    assert streamed(codec, [0, 1, 3]) == ["", "", "\ufffd x", ""]


def test_a_stream_holds_a_run_of_bytes_until_it_ends() -> None:
    tokens = ("<0xE6>", "<0x97>", "<0xA5>", "▁x")
    codec = TextCodec(TextSpec("byte_fallback", tokens, (), strip=1))
    assert streamed(codec, [3, 0, 1, 2, 3]) == ["x", "", "", "", "日 x", ""]
    assert streamed(codec, [0, 1, 3]) == ["", "", "\ufffd\ufffd x", ""]


def test_a_cleaned_stream_gives_words_out_as_they_come() -> None:
    tokens = ("[UNK]", "the", "dog", "##gie", ".", "'", "s", "runs")
    codec = TextCodec(TextSpec("wordpiece", tokens, (0,), clean_up=True))
    pieces = streamed(codec, [1, 2, 3, 5, 6, 7, 4])
    assert pieces[:3] == ["the", " dog", "gie"]
    assert "".join(pieces) == "the doggie's runs."


@settings(max_examples=400, deadline=None)
@given(pieces=st.lists(st.sampled_from(list(" '.,!?nmst") + ["n't", " 's", " 've", "are", "犬"])))
def test_cleaning_piece_by_piece_is_cleaning_the_whole(pieces: list[str]) -> None:
    cleaner = CleanUp()
    out = "".join([*map(cleaner.push, pieces), cleaner.finish()])
    assert out == clean_up("".join(pieces))


@pytest.mark.parametrize("rule", [" .", " ?", " ' ", " n't", " 'm", " 's", " 've", " 're"])
@pytest.mark.parametrize("before", ["", "a", "abc", "abc ", "a n", "'", " '"])
def test_cleaning_letter_by_letter_is_cleaning_the_whole(rule: str, before: str) -> None:
    cleaner = CleanUp()
    text = f"{before}{rule}{rule}xyz{rule}"
    assert "".join([*map(cleaner.push, text), cleaner.finish()]) == clean_up(text)
