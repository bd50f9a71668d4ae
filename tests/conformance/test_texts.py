"""edgecap's tokenizer and its reading of captions against the vectors."""

import json
import unicodedata
from typing import Any

import pytest
from vectors import VECTORS, topic

from edgecap.bundle.regions_spec import RegionsSpec
from edgecap.core.errors import BundleError
from edgecap.runtime.captions import read
from edgecap.runtime.preprocess import letterbox
from edgecap.runtime.regions import Input
from edgecap.runtime.text.from_tokenizer import codec_of
from edgecap.runtime.tokenizer import Tokenizer

KEPT = (VECTORS / "tokenizer.json").read_bytes()
TOKENIZER = Tokenizer(KEPT)
WORDS, REGIONS = topic("words"), topic("regions")


def test_nfc() -> None:
    for given, expected in topic("nfc")["cases"]:
        out = unicodedata.normalize("NFC", "".join(map(chr, given)))
        assert [ord(character) for character in out] == expected


@pytest.mark.parametrize(("text", "ids"), WORDS["encode"])
def test_encode(text: str, ids: list[int]) -> None:
    assert TOKENIZER.encode(text) == ids


@pytest.mark.parametrize(("text", "ids"), WORDS["encode_special"])
def test_encode_with_special_tokens(text: str, ids: list[int]) -> None:
    assert TOKENIZER.encode(text, allow_special=True) == ids


@pytest.mark.parametrize(("ids", "skip_special", "text"), WORDS["decode"])
def test_decode(ids: list[int], skip_special: bool, text: str) -> None:
    assert TOKENIZER.decode(ids, skip_special=skip_special) == text


@pytest.mark.parametrize("case", topic("tokenizer_refusals")["cases"], ids=lambda c: c["name"])
def test_tokenizers_that_are_refused(case: dict[str, Any]) -> None:
    old, new = case["replace"]
    text = KEPT.decode()
    assert old in text
    with pytest.raises(BundleError) as refused:
        Tokenizer(text.replace(old, new, 1).encode())
    assert refused.value.code == case["code"]


@pytest.mark.parametrize("case", REGIONS["cases"], ids=lambda case: json.dumps(case["text"])[:40])
def test_phrases_and_boxes(case: dict[str, Any]) -> None:
    first = TOKENIZER.id_of(REGIONS["first"])
    spec = RegionsSpec("edges4", first, REGIONS["bins"], REGIONS["bin_px"])
    view = Input((224, 224), letterbox(224, 224, 224))
    told = read(case["tokens"], case["scores"], codec_of(TOKENIZER), spec, view, case["lang"])
    assert (told.text, told.malformed) == (case["text"], case["malformed"])
    assert len(told.regions) == len(case["groups"])
    for group, expected in zip(told.regions, case["groups"], strict=True):
        assert [group.start, group.end] == expected["span"]
        assert [list(box) for box in group.boxes] == expected["boxes"]
        assert list(group.scores) == pytest.approx(expected["scores"], abs=1e-8)
        start, end = expected["bytes"]
        assert told.text.encode()[start:end].decode() == expected["phrase"]
