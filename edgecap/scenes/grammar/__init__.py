"""Grammars that turn scene statements into captions, one per language."""

from __future__ import annotations

from functools import cache

from edgecap.core.errors import InputError
from edgecap.core.tokens import LANGUAGES
from edgecap.scenes.grammar import chinese, english, german, japanese, romance
from edgecap.scenes.grammar.base import Grammar

__all__ = ["Grammar", "for_language"]

_RULES = {
    "en": english.english,
    "de": german.german,
    "zh": chinese.chinese,
    "ja": japanese.japanese,
    **romance.ROMANCE,
}


@cache
def for_language(language: str) -> Grammar:
    """The grammar of `language`. Raises InputError for a language that has none."""
    if language not in _RULES:
        raise InputError(
            "grammar.language",
            f"There is no grammar for language {language!r}.",
            f"Languages: {', '.join(LANGUAGES)}.",
        )
    return Grammar(_RULES[language]())
