"""Possible readings of a phrase as a sentence like those in the training data.

"the red circle left of the dog" is not a caption; "The red circle is left of the dog." is. Per
language, this module knows only the copula ("is") and whether a modifier precedes its noun; for a
language that was added later, nothing. The end of the name is not parsed but scored by the model:
see ground.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgecap.core.errors import InputError
from edgecap.runtime.mentions import determiner_end


@dataclass(frozen=True)
class Copula:
    """How a language joins a name and a predicate to a statement."""

    word: str  # "is", between the name and the rest
    also: tuple[str, ...] = ()  # alternatives to `word`
    of: str = ""  # links a modifier to the name after it: 的, の
    end: str = ""  # after the rest: です
    stop: str = "."
    gap: str = " "
    one: str = ""  # begins a counted name, where a language has counters and no articles: 一


COPULAS: dict[str, Copula] = {
    "en": Copula("is"),
    "es": Copula("está"),
    "fr": Copula("est", also=("se trouve",)),
    "de": Copula("ist", also=("befindet sich",)),
    "it": Copula("è", also=("si trova",)),
    "pt": Copula("está", also=("fica",)),
    "nl": Copula("is", also=("bevindt zich",)),
    "zh": Copula("在", also=("位于",), of="的", stop="。", gap="", one="一"),
    "ja": Copula("は", of="の", end="です", stop="。", gap=""),
}
# For any other language: the whole phrase is the name, and a statement is not changed.
NEUTRAL = Copula("", gap="")


@dataclass(frozen=True)
class Reading:
    """One reading of a phrase: the `name` of an object, and the `rest` about it, or ""."""

    name: str  # "The red circle"
    joint: str  # between name and rest: " is"
    rest: str  # " left of the dog."

    article: str = ""  # the article at the start of the name: "The"

    @property
    def sentence(self) -> str:
        return self.name + self.joint + self.rest


def readings(phrase: str, lang: str) -> list[Reading]:
    """All readings of a phrase or a statement; in the first, all of it is the name.

    A name is more than an article. Raises InputError for an empty phrase.
    """
    text, copula = _bare(phrase), copula_of(lang)
    joint = copula.gap + copula.word
    found = [Reading(_capital(text), joint, "")]
    places = _places(text, copula)
    for place in places:
        before, after = text[:place], text[place:]
        stated = _stated(after, copula)
        if stated:
            rest = after.removeprefix(stated)
            found.append(Reading(_capital(before), stated, rest + copula.stop))
        elif not copula.of:
            found.append(Reading(_capital(before), joint, after + copula.stop))
        elif after.startswith(copula.of) and after != copula.of:
            name = after.removeprefix(copula.of)
            found.append(Reading(name, joint, before + copula.end + copula.stop))
    ends = [determiner_end(one.name, lang) for one in found]
    return [
        replace(one, article=one.name[:end].rstrip())
        for i, (one, end) in enumerate(zip(found, ends, strict=True))
        if i == 0 or end < len(one.name)
    ]


def _places(text: str, copula: Copula) -> Sequence[int]:
    """The positions where a name may end."""
    if not copula.word:
        return []
    return [m.start() for m in re.finditer(" ", text)] if copula.gap else range(1, len(text))


def _stated(after: str, copula: Copula) -> str:
    """The joint at the start of `after`, if the phrase is already a statement; otherwise ""."""
    joints = (copula.gap + word for word in (copula.word, *copula.also))
    return next((j for j in joints if after.startswith(j + copula.gap) and after != j), "")


def as_sentence(statement: str, lang: str) -> str:
    """A statement with a capital and a full stop; InputError as in `readings`."""
    return _capital(_bare(statement)) + copula_of(lang).stop


def _bare(phrase: str) -> str:
    """The phrase with normalised spaces and without punctuation at the end."""
    text = re.sub(r"\s+", " ", phrase).strip().rstrip(".。?？!！").strip()
    if not text:
        raise InputError("phrase.empty", "the phrase is empty.")
    return text


def copula_of(lang: str) -> Copula:
    """The copula of a language; NEUTRAL for an unknown one."""
    return COPULAS.get(lang, NEUTRAL)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
