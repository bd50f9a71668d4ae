"""Grammars that turn scene statements into captions, one per language."""

from __future__ import annotations

from functools import cache

from edgecap.core.errors import InputError
from edgecap.core.language import resolve_language
from edgecap.reference.scenes.grammar import (
    chinese,
    dutch,
    english,
    german,
    japanese,
    korean,
    romance,
)
from edgecap.reference.scenes.grammar.base import Grammar
from edgecap.reference.tokens import LANGUAGES

__all__ = ["HELD_OUT", "GRAMMAR_LANGUAGES", "Grammar", "for_language", "picked_languages"]

# Languages with a grammar in which no shipped model was trained: one close to its languages, one
# distant. edgecap.benchmarks.reference.new_language measures the cost.
HELD_OUT = ("nl", "ko")
GRAMMAR_LANGUAGES = LANGUAGES + HELD_OUT

_RULES = {
    "en": english.english,
    "de": german.german,
    "zh": chinese.chinese,
    "ja": japanese.japanese,
    "nl": dutch.dutch,
    "ko": korean.korean,
    **romance.ROMANCE,
}


def picked_languages(text: str) -> tuple[str, ...]:
    """ "all", which is the eight, or language codes with commas, in the order given, each once.

    Held-out languages must be named. Raises InputError for an unknown one.
    """
    if text == "all":
        return LANGUAGES
    return tuple(
        dict.fromkeys(resolve_language(lang, GRAMMAR_LANGUAGES) for lang in text.split(","))
    )


@cache
def for_language(language: str) -> Grammar:
    """The grammar of `language`. Raises InputError for a language that has none."""
    if language not in _RULES:
        raise InputError(
            "grammar.language",
            f"There is no grammar for language {language!r}.",
            f"Languages: {', '.join(GRAMMAR_LANGUAGES)}.",
        )
    return Grammar(_RULES[language]())
