"""The shipped tokenizer is what its own training makes, and splits captions as it promises."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from edgecap.reference.config import CaptionerConfig
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import COLORS, SHAPES, Name
from edgecap.reference.tokens import ID, LANGUAGES, SPECIALS
from edgecap.reference.train import tokenizer as making

SHIPPED = (files("edgecap.reference") / "data" / "tokenizer.json").read_text(encoding="utf-8")


def test_the_shipped_tokenizer_comes_from_the_grammars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert making.SHIPPED.read_text(encoding="utf-8") == SHIPPED
    monkeypatch.setattr(making, "SHIPPED", tmp_path / "tokenizer.json")
    making.write_shipped()
    assert json.loads(making.SHIPPED.read_text(encoding="utf-8")) == json.loads(SHIPPED)


def test_fixed_ids_come_first_and_the_vocabulary_is_full() -> None:
    vocabulary = json.loads(SHIPPED)["model"]["vocab"]
    assert {token: vocabulary[token] for token in SPECIALS} == ID
    assert len(vocabulary) == CaptionerConfig.vocabulary


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_token_joins_a_colour_to_a_shape(language: str) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(SHIPPED)
    grammar = for_language(language)
    for shape in SHAPES:
        bare = grammar.noun_phrase(Name(shape))
        tail = bare.split(" ")[-1][-1]
        for color in COLORS:
            phrase = grammar.noun_phrase(Name(shape, color)).replace("|", "")
            pieces = tokenizer.encode(" " + phrase).tokens
            assert len(pieces) >= 2 and "".join(pieces).strip("▁").endswith(phrase[-1]), pieces
            assert not any(tail in piece and len(piece) > len(phrase) - 2 for piece in pieces)
