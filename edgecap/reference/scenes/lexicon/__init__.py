"""One table of words per language, as tab-separated package data.

Rows are nouns (the hundred drawn things, the six shapes and "object") and colours, by the keys of
`scenes.nouns` and `scenes.graph`. Columns are what the language needs: `gender` is m, f or n, with
an apostrophe where the singular takes another article (French l'avion, Spanish el ancla), and in
Dutch c (de) or n (het); `oblique` is the accusative and dative of German weak nouns; `counter` is
the Chinese classifier, the Japanese or the Korean counter. Colour rows give the masculine, then the
feminine; in Dutch the bare form, then the one with -e.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# The key of the noun for a thing whose shape is not named.
OBJECT = "object"


@dataclass(frozen=True)
class Entry:
    """One row: the forms of a word; a form that the language lacks is empty."""

    singular: str
    plural: str = ""
    gender: str = ""
    feminine: str = ""
    feminine_plural: str = ""
    oblique: str = ""
    counter: str = ""


@dataclass(frozen=True)
class Lexicon:
    """The words of one language by key."""

    nouns: Mapping[str, Entry]
    colors: Mapping[str, Entry]

    def noun(self, key: str) -> Entry:
        """The noun for a name's `noun`, "" meaning an object whose shape is not named."""
        return self.nouns[key or OBJECT]


@cache
def load(language: str) -> Lexicon:
    """The lexicon of `language`, one of `scenes.grammar.GRAMMAR_LANGUAGES`."""
    text = (files(__name__) / f"{language}.tsv").read_text(encoding="utf-8")
    header, *rows = (line.split("\t") for line in text.splitlines())
    words: dict[str, dict[str, Entry]] = {"noun": {}, "color": {}}
    for kind, key, *forms in rows:
        # Rows may leave out empty cells at their end.
        words[kind][key] = Entry(**dict(zip(header[2:], forms, strict=False)))
    return Lexicon(words["noun"], words["color"])
