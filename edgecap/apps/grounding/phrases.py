"""A phrase as sentences that the model may have been taught: how, is for the model to say.

"the red circle left of the dog" is no caption, "The red circle is left of the dog." is. All that is
known here of a language is how it says "is" and whether what a thing is told by stands before or
after it, and of a language that was added, nothing. Where the name ends is not parsed, but scored
by the model: see ground.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgecap.core.errors import InputError
from edgecap.runtime.mentions import determiner_end


@dataclass(frozen=True)
class Copula:
    """How a language makes a statement of a name and what is said of it."""

    word: str  # "is", as it stands between the name and the rest
    also: tuple[str, ...] = ()  # other words that a statement may have there
    of: str = ""  # links a modifier that stands before its name: 的, の
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
# Of any other language: all of a phrase is the name, and a statement is taken as it stands.
NEUTRAL = Copula("", gap="")


@dataclass(frozen=True)
class Reading:
    """One way to take a phrase: `name` for a thing, `rest` said of it ("" where nothing is)."""

    name: str  # "The red circle"
    joint: str  # what leads from the name to the rest: " is"
    rest: str  # " left of the dog."

    article: str = ""  # with which the name begins: "The"

    @property
    def sentence(self) -> str:
        return self.name + self.joint + self.rest


def readings(phrase: str, lang: str) -> list[Reading]:
    """Every way to take a phrase or a statement; the first takes all of it as a name.

    A name is more than an article. InputError for an empty phrase.
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
    """Where a name may end."""
    if not copula.word:
        return []
    return [m.start() for m in re.finditer(" ", text)] if copula.gap else range(1, len(text))


def _stated(after: str, copula: Copula) -> str:
    """The joint with which `after` begins, where the phrase is a statement already; or ""."""
    joints = (copula.gap + word for word in (copula.word, *copula.also))
    return next((j for j in joints if after.startswith(j + copula.gap) and after != j), "")


def as_sentence(statement: str, lang: str) -> str:
    """A statement with its capital and its full stop; InputError as of `readings`."""
    return _capital(_bare(statement)) + copula_of(lang).stop


def _bare(phrase: str) -> str:
    """One kind of space, and no mark at the end."""
    text = re.sub(r"\s+", " ", phrase).strip().rstrip(".。?？!！").strip()
    if not text:
        raise InputError("phrase.empty", "an empty phrase names nothing.")
    return text


def copula_of(lang: str) -> Copula:
    """How a language says "is"; NEUTRAL where that is not known here."""
    return COPULAS.get(lang, NEUTRAL)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
