"""Korean: colour, noun, number and counter; what it does in the sentence is a particle at its end.

Cases are particles: nom (none), subject 이/가, topic 은/는, and 과/와, of 의, is 입니다; of the
pairs the first follows a consonant, the second a vowel. In a list the last item takes it for all.
A definite thing is the bare noun phrase.
"""

from __future__ import annotations

from edgecap.reference.scenes.grammar.base import Rules, rules
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.lexicon import load

_NUMBERS = ("한", "두", "세", "네", "다섯", "여섯", "일곱")

# case -> after a consonant, after a vowel
_PARTICLES = {
    "nom": ("", ""),
    "subject": ("이", "가"),
    "topic": ("은", "는"),
    "and": ("과", "와"),
    "of": ("의", "의"),
    "is": ("입니다", "입니다"),
}
_FIRST_SYLLABLE, _ENDINGS = 0xAC00, 28  # Unicode: syllables in order, each with 28 endings

_LISTS = (
    "{0:nom}",
    "{0:subject} 있는 그림",
    "그림에 {0:subject} 보입니다",
    "여기에 {0:subject} 있습니다",
)


def _beside(where: str) -> tuple[str, str]:
    return f"{{0:topic}} {{1:of}} {where} 있습니다", f"{{1:of}} {where} {{0:subject}} 있습니다"


_RELATIONS = {
    "left": _beside("왼쪽에"),
    "right": _beside("오른쪽에"),
    "above": _beside("위쪽에"),
    "below": _beside("아래쪽에"),
    "between": (
        "{0:topic} {1:and} {2} 사이에 있습니다",
        "{1:and} {2} 사이에 {0:subject} 있습니다",
    ),
    "biggest": ("{0:subject} 가장 큰 물체입니다", "가장 큰 물체는 {0:is}"),
    "smallest": ("{0:subject} 가장 작은 물체입니다", "가장 작은 물체는 {0:is}"),
}


def with_particle(phrase: str, case: str) -> str:
    """The phrase with the form of the particle that its last syllable requires."""
    ends_in_vowel = (ord(phrase[-1]) - _FIRST_SYLLABLE) % _ENDINGS == 0
    return phrase + _PARTICLES[case][ends_in_vowel]


def korean() -> Rules:
    """The rules of Korean."""
    lexicon = load("ko")

    def phrase(name: Name, count: int, definite: bool, case: str) -> str:
        noun = lexicon.noun(name.noun)
        color = lexicon.colors[name.color].singular + " " if name.color else ""
        counted = "" if definite else f" {_NUMBERS[count - 1]} {noun.counter}"
        return with_particle(color + noun.singular + counted, case)

    return rules("ko", phrase, (", ", " 그리고 ", ".", " "), _LISTS, _RELATIONS, case_on_last=True)
