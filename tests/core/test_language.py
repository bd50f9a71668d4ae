"""BCP 47 tags, as phones and browsers give them, against a model's languages."""

from __future__ import annotations

import pytest

from edgecap.core.errors import InputError
from edgecap.core.language import resolve_language

MODEL = ("en", "es", "fr", "de", "it", "pt", "zh", "ja")


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("en", "en"),
        ("en-US", "en"),
        ("EN", "en"),
        ("pt-BR", "pt"),
        ("pt_BR", "pt"),  # Java's and POSIX's way of writing it
        ("zh-Hans", "zh"),
        ("zh-Hans-TW", "zh"),
        ("zh-CN", "zh"),
        ("de-CH-1996", "de"),
        ("es-419", "es"),
        (" ja ", "ja"),
    ],
)
def test_a_tag_asks_for_its_language(tag: str, language: str) -> None:
    assert resolve_language(tag, MODEL) == language


def test_a_longer_tag_that_the_model_has_is_preferred() -> None:
    assert resolve_language("pt-br", ("pt", "pt-BR")) == "pt-BR"
    assert resolve_language("zh-Hant-TW", ("zh", "zh-Hant")) == "zh-Hant"


@pytest.mark.parametrize("tag", ["zh-Hant", "zh-TW", "zh_HK", "ko", "eng", "", "-", "e"])
def test_what_no_language_serves_is_refused(tag: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve_language(tag, MODEL)
    assert caught.value.code == "language.unknown"
    assert ", ".join(MODEL) in caught.value.message
