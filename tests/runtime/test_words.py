"""Words of a caption are the same in every kind of tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.bundle.text_spec import text_spec_to_json
from edgecap.models.translate import Checkpoint, text_spec
from edgecap.runtime.decode import Chosen
from edgecap.runtime.text import TextCodec
from edgecap.runtime.words import WordMap, word_maps

LEARNED = ["a small dog", "small dogs run", "cats running after the naïve dog, 12 times"] * 4
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PLACES = [f"<loc_{n}>" for n in range(100)]
G = 3


def byte_level() -> tuple[Tokenizer, object]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(vocab_size=290, initial_alphabet=letters)


def byte_fallback() -> tuple[Tokenizer, object]:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*back, decoders.Strip(content=" ", left=1)])
    return tokenizer, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", *BYTES])


def wordpiece() -> tuple[Tokenizer, object]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return tokenizer, trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]"])


def metaspace() -> tuple[Tokenizer, object]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>"]
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=40, special_tokens=special, unk_token="<unk>"
    )


def codec_of(tokenizer: Tokenizer, directory: Path) -> TextCodec:
    """A bundle's codec of a tokenizer that transformers saved, with location tokens."""
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")
    whole.add_tokens([AddedToken(place, normalized=False) for place in PLACES])
    whole.save_pretrained(directory)
    spec = text_spec(Checkpoint(directory))
    return TextCodec.from_bytes(json.dumps(text_spec_to_json(spec)).encode())


def maps_of(codec: TextCodec, ids: list[int], regions: RegionsSpec | None = None) -> list[WordMap]:
    """The map of token n is n everywhere."""
    chosen = [Chosen(id_, 0.0, np.full(G * G, n, np.float32)) for n, id_ in enumerate(ids)]
    return list(word_maps(chosen, codec, regions))


@pytest.fixture(params=[byte_level, byte_fallback, wordpiece, metaspace])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[TextCodec, Tokenizer]:
    """A bundle's codec and the tokenizer, which has learned few pieces: words have several."""
    make: Callable[[], tuple[Tokenizer, trainers.Trainer]] = request.param
    tokenizer, trainer = make()
    tokenizer.train_from_iterator(LEARNED, trainer)
    codec = codec_of(tokenizer, tmp_path)
    assert codec.spec.family == request.param.__name__
    return codec, tokenizer


def test_words_are_those_that_spaces_and_marks_divide(pair: tuple[TextCodec, Tokenizer]) -> None:
    codec, tokenizer = pair
    ids = tokenizer.encode("a small dog, 12 cats running after dogs").ids
    words = maps_of(codec, ids)
    expected = ["a", "small", "dog", ",", "12", "cats", "running", "after", "dogs"]
    assert [word.text for word in words] == expected
    assert len(ids) > len(words)  # some word has several tokens
    assert [n for word in words for n in range(*word.tokens)] == list(range(len(ids)))
    for word in words:
        np.testing.assert_allclose(word.map, np.mean(range(*word.tokens)), rtol=1e-6)


def test_a_box_ends_a_word(pair: tuple[TextCodec, Tokenizer]) -> None:
    codec, tokenizer = pair
    first = codec.id_of(PLACES[0])
    dog, cats = tokenizer.encode("a dog").ids, tokenizer.encode("cats").ids
    for kind, size in (("loc1000", 4), ("cells2", 2)):
        regions = RegionsSpec(kind, first, len(PLACES))
        words = maps_of(codec, [*dog, *range(first, first + 2 * size), *cats], regions)
        assert [word.text for word in words if not word.is_box] == ["a", "dog", "cats"]
        assert [word.is_box for word in words] == [False, False, True, True, False]
        spans = [word.tokens for word in words if word.is_box]
        assert [end - start for start, end in spans] == [size, size]


@pytest.mark.parametrize("kind", [byte_level, byte_fallback])
def test_a_letter_of_several_tokens_is_inside_its_word(kind: Callable, tmp_path: Path) -> None:
    """Bytes of one letter, of a picture, and of two Chinese words."""
    tokenizer, trainer = kind()
    tokenizer.train_from_iterator(["a cat"], trainer)
    codec = codec_of(tokenizer, tmp_path)
    words = maps_of(codec, tokenizer.encode("a naïve 🐶 cat 小狗").ids)
    assert [word.text for word in words] == ["a", "naïve", "🐶", "cat", "小", "狗"]


def test_bytes_that_are_no_character_are_entries_too(tmp_path: Path) -> None:
    tokenizer, trainer = byte_level()
    tokenizer.train_from_iterator(["a cat"], trainer)
    codec = codec_of(tokenizer, tmp_path)
    part = codec.id_of("ð")  # the first byte of a picture
    cat = tokenizer.encode("cat").ids
    words = maps_of(codec, [*cat, part, part, *cat])
    assert [word.text for word in words] == ["cat", "\ufffd", "\ufffd", "cat"]
