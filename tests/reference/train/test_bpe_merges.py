"""A new language's words become tokens, and nothing that was known is spelled otherwise."""

from __future__ import annotations

import numpy as np
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecap.reference.extension import Extension
from edgecap.reference.scenes.dataset import caption_rows
from edgecap.reference.scenes.sample import SceneRules, sample_drawing
from edgecap.reference.scenes.words import words
from edgecap.reference.shipped import shipped_tokenizer, tokenizer_data
from edgecap.reference.tokens import LANGUAGES
from edgecap.reference.train import bpe_merges, extend_vocabulary
from edgecap.runtime.tokenizer import SPACE, Tokenizer

SHIPPED = shipped_tokenizer()
DUTCH = [
    "Een rode driehoek, een paddenstoel en twee konijnen.",
    "De paddenstoel bevindt zich links van de rode driehoek.",
    "Twee konijnen. Een driehoek is onder het konijn.",
]


def extended(
    captions: list[str], lang: str = "nl", known: tuple[str, ...] = LANGUAGES
) -> tuple[Extension, Tokenizer]:
    after = extend_vocabulary.extend(Extension(known), lang, captions)
    return after, Tokenizer(tokenizer_data(after))


def drawn(lang: str, n: int) -> list[str]:
    return [
        row["text"]
        for i in range(n)
        for row in caption_rows(
            "", sample_drawing(np.random.default_rng(i), SceneRules()).scene, "train", i, 0, (lang,)
        )
    ]


def test_words_that_captions_repeat_are_one_token_each() -> None:
    after, tokenizer = extended(DUTCH)
    assert {"▁driehoek", "▁paddenstoel", "▁konijnen"} <= set(after.tokens)
    assert not any("bevindt" in token for token in after.tokens)  # seen once
    text = DUTCH[0]
    assert len(tokenizer.encode(text)) < len(SHIPPED.encode(text)) / 2
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_what_the_known_grammars_say_is_spelled_as_before() -> None:
    # Written with the words of all of them, the captions would join everything.
    everything = [word.replace(SPACE, " ") for lang in LANGUAGES for word in words(lang)]
    _, tokenizer = extended([*DUTCH, *drawn("nl", 60), *everything, *everything])
    for lang in LANGUAGES:
        for word in words(lang):
            assert tokenizer.encode_piece(word) == SHIPPED.encode_piece(word)
            assert tokenizer.encode_piece(word.lower()) == SHIPPED.encode_piece(word.lower())
        for text in drawn(lang, 40):
            assert tokenizer.encode(text) == SHIPPED.encode(text)


def test_known_words_need_nothing() -> None:
    after, _ = extended(drawn("en", 30), "en")
    assert after == Extension()


def test_no_join_crosses_words_of_a_known_language_without_spaces() -> None:
    said = drawn("zh", 80)
    turned = ["".join(reversed(text)) for text in said]  # every character beside others
    after, tokenizer = extended([*turned, *said, *said], "yue")
    assert after.merges  # something could be joined
    for text in drawn("zh", 120):
        assert tokenizer.encode(text) == SHIPPED.encode(text)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("aeiourst ▁<>.'éñ빨간개ก🐶", min_size=1, max_size=12), max_size=8))
def test_any_captions_make_a_tokenizer_that_the_library_agrees_with(captions: list[str]) -> None:
    after, tokenizer = extended([*captions, *captions, "<eos> <eos> <loc_00>"], known=("en",))
    library = tokenizers.Tokenizer.from_str(tokenizer_data(after).decode())
    assert len(set(after.tokens)) == len(after.tokens) <= bpe_merges.MOST + 20
    for text in captions:
        if any(name in text for name in tokenizer.special):
            continue  # the library takes it for the token, whoever wrote it
        ids = tokenizer.encode(text)
        assert ids == library.encode(" " + text, add_special_tokens=False).ids
        assert not set(ids) & set(tokenizer.special.values())


def test_tokens_have_a_longest() -> None:
    german, thai = "Donaudampfschifffahrtsgesellschaft", "สุนัขสีแดงและแมวสีขาว"
    after, _ = extended([german, thai] * 3, "th")
    letters = [token.removeprefix(SPACE) for token in after.tokens]
    assert max(len(one) for one in letters if one.isascii()) == 16
    assert max(len(one) for one in letters if not one.isascii()) == 6
