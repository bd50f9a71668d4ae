"""German: three genders, four cases less the genitive, strong, mixed and weak adjectives.

Cases: nom, acc, dat, and von (the preposition with its dative; "von dem" contracts to "vom").
"""

from __future__ import annotations

from edgecap.reference.scenes.grammar.base import Rules, rules
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.lexicon import Entry, load

_NUMBERS = ("zwei", "drei", "vier", "fünf", "sechs", "sieben")

_EIN = {
    "nom": {"m": "ein", "f": "eine", "n": "ein"},
    "acc": {"m": "einen", "f": "eine", "n": "ein"},
    "dat": {"m": "einem", "f": "einer", "n": "einem"},
}
_DER = {
    "nom": {"m": "der", "f": "die", "n": "das"},
    "acc": {"m": "den", "f": "die", "n": "das"},
    "dat": {"m": "dem", "f": "der", "n": "dem"},
    "von": {"m": "vom", "f": "von der", "n": "vom"},
}
# Adjective endings after ein (mixed) and after der (weak), and bare in the plural (strong).
_MIXED = {
    "nom": {"m": "er", "f": "e", "n": "es"},
    "acc": {"m": "en", "f": "e", "n": "es"},
    "dat": {"m": "en", "f": "en", "n": "en"},
}
_WEAK = {
    "nom": {"m": "e", "f": "e", "n": "e"},
    "acc": {"m": "en", "f": "e", "n": "e"},
    "dat": {"m": "en", "f": "en", "n": "en"},
}
_STRONG_PLURAL = {"nom": "e", "acc": "e", "dat": "en"}

_LISTS = (
    "{0:nom}",
    "ein Bild mit {0:dat}",
    "das Bild zeigt {0:acc}",
    "man sieht {0:acc}",
)

_RELATIONS = {
    "left": ("{0} ist links {1:von}", "{0} befindet sich links {1:von}"),
    "right": ("{0} ist rechts {1:von}", "{0} befindet sich rechts {1:von}"),
    "above": ("{0} ist über {1:dat}", "{0} befindet sich über {1:dat}"),
    "below": ("{0} ist unter {1:dat}", "{0} befindet sich unter {1:dat}"),
    "between": (
        "{0} ist zwischen {1:dat} und {2:dat}",
        "{0} befindet sich zwischen {1:dat} und {2:dat}",
    ),
    "biggest": ("{0} ist das größte Objekt", "das größte Objekt ist {0}"),
    "smallest": ("{0} ist das kleinste Objekt", "das kleinste Objekt ist {0}"),
}


def _singular(noun: Entry, case: str) -> str:
    return noun.oblique if noun.oblique and case != "nom" else noun.singular


def _plural(noun: Entry, case: str) -> str:
    # The dative plural takes -n, save after -n and the loanwords' -s.
    bare = case != "dat" or noun.plural[-1] in "ns"
    return noun.plural if bare else noun.plural + "n"


def german() -> Rules:
    """The rules of German."""
    lexicon = load("de")

    def phrase(name: Name, count: int, definite: bool, case: str) -> str:
        noun = lexicon.noun(name.noun)
        color = lexicon.colors[name.color].singular if name.color else ""
        declined = "dat" if case == "von" else case
        if count > 1:
            article, ending = _NUMBERS[count - 2], _STRONG_PLURAL[declined]
            form = _plural(noun, declined)
        else:
            articles, endings = (_DER, _WEAK) if definite else (_EIN, _MIXED)
            article, ending = articles[case][noun.gender], endings[declined][noun.gender]
            form = _singular(noun, declined)
        return f"{article} {color}{ending} {form}" if color else f"{article} {form}"

    return rules("de", phrase, (", ", " und ", ".", " "), _LISTS, _RELATIONS)
