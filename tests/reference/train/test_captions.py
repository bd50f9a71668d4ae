"""Captions become tokens: boxes become location tokens, and no text acts as a special token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgecap.apps.pairs.pair import Pair, Span
from edgecap.core.errors import InputError
from edgecap.reference.extension import Extension
from edgecap.reference.shipped import tokenizer_data
from edgecap.reference.tokens import EOS_ID, ID, SPECIALS
from edgecap.reference.train.captions import SampleEncoder, check_locations, with_boxes
from edgecap.runtime.preprocess import letterbox
from edgecap.runtime.tokenizer import Tokenizer


def test_boxes_of_an_image_become_locations_of_the_model_input() -> None:
    where = letterbox(448, 224, 224)  # half as large, 56 px from the top
    pair = Pair(Path("a.png"), "A dog, a cat.", (Span(0, 5, ((0, 0, 448, 224),)),))
    assert with_boxes(pair, where) == "A dog<loc_00><loc_14><loc_56><loc_42>, a cat."
    thin = replace(pair, spans=(Span(0, 5, ((9, 0, 10, 224),)),), where="mine.jsonl:3")
    with pytest.raises(InputError, match=r"mine\.jsonl:3 has a box \[9, 0, 10, 224\]"):
        with_boxes(thin, where)
    encoder = SampleEncoder(Tokenizer(tokenizer_data()), Extension(), "en", 12)
    plain, grounded = encoder.encode(pair, where)
    assert plain.caption[:2] == (ID["<en>"], ID["<plain>"]) and plain.caption[-1] == EOS_ID
    assert grounded.caption[1] == ID["<grounded>"] and ID["<loc_56>"] in grounded.caption
    assert grounded.text == plain.text
    (cut,) = encoder.encode(Pair(Path("a.png"), "A dog, " * 9), where)
    assert cut.is_cut and len(cut.caption) == 12 and not plain.is_cut


BOX = "<loc_00><loc_14><loc_56><loc_42>"


@pytest.mark.parametrize(
    "caption", ["A sign that says <eos> and <ja>.", "A sign<eos>.", "A sign<ja>", "A sign \ud800."]
)
@pytest.mark.parametrize("drawn", [False, True])
def test_words_of_a_caption_with_boxes_never_steer(caption: str, drawn: bool) -> None:
    pair = Pair(Path("a.png"), caption, (Span(0, 6, ((0, 0, 448, 224),)),))
    if drawn:
        pair = replace(pair, spans=(), grounded=f"{caption[:6]}{BOX}{caption[6:]}")
    tokenizer = Tokenizer(tokenizer_data())
    encoder = SampleEncoder(tokenizer, Extension(), "en", 99)
    _, grounded = encoder.encode(pair, letterbox(448, 224, 224))
    language, style, *words, end = grounded.caption
    assert (language, style, end) == (ID["<en>"], ID["<grounded>"], EOS_ID)
    specials = [token for token in words if token < len(SPECIALS)]
    assert specials == tokenizer.encode(BOX, allow_special=True)[1:]
    assert tokenizer.decode(words) == f"{caption[:6]}{BOX}{caption[6:]}".replace("\ud800", "?")


@pytest.mark.parametrize("unknown", ["<loc_1>", "<loc_57>"])
def test_location_tokens_that_the_vocabulary_lacks_are_refused(unknown: str) -> None:
    good = Pair(Path("a.png"), "A dog", grounded=f"A dog{BOX}", where="mine.jsonl:1")
    check_locations([good])
    bad = replace(good, grounded=f"A dog{unknown}{BOX[8:]}", where="mine.jsonl:2")
    with pytest.raises(InputError, match=rf"mine\.jsonl:2 has {unknown}; known are <loc_00>"):
        check_locations([good, bad])


def test_a_caption_with_boxes_is_spelled_as_in_training() -> None:
    said = f"A dog{BOX}{BOX}, two cats{BOX} and a café{BOX}."
    pair = Pair(Path("a.png"), said.replace(BOX, ""), grounded=said)
    tokenizer = Tokenizer(tokenizer_data())
    _, grounded = SampleEncoder(tokenizer, Extension(), "en", 99).encode(
        pair, letterbox(224, 224, 224)
    )
    assert list(grounded.caption[2:-1]) == tokenizer.encode(said, allow_special=True)
