"""Dutch: de-words and het-words, and an adjective that drops its -e in one place only.

"een rode cirkel", "de rode cirkel", "het rode vierkant" and "twee rode vierkanten" have it; "een
rood vierkant" (one het-word, indefinite) has not.
"""

from __future__ import annotations

from edgecap.reference.scenes.grammar.base import Rules, rules
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.lexicon import load

_NUMBERS = ("twee", "drie", "vier", "vijf", "zes", "zeven")
_DEFINITE = {"c": "de", "n": "het"}

_LISTS = (
    "{0:nom}",
    "een afbeelding met {0:nom}",
    "deze afbeelding toont {0:nom}",
    "hier zien we {0:nom}",
)

_RELATIONS = {
    "left": ("{0} is links van {1}", "{0} bevindt zich links van {1}"),
    "right": ("{0} is rechts van {1}", "{0} bevindt zich rechts van {1}"),
    "above": ("{0} is boven {1}", "{0} bevindt zich boven {1}"),
    "below": ("{0} is onder {1}", "{0} bevindt zich onder {1}"),
    "between": ("{0} is tussen {1} en {2}", "{0} bevindt zich tussen {1} en {2}"),
    "biggest": ("{0} is het grootste voorwerp", "het grootste voorwerp is {0}"),
    "smallest": ("{0} is het kleinste voorwerp", "het kleinste voorwerp is {0}"),
}


def dutch() -> Rules:
    """The rules of Dutch."""
    lexicon = load("nl")

    def phrase(name: Name, count: int, definite: bool, case: str) -> str:
        noun = lexicon.noun(name.noun)
        color = ""
        if name.color:
            forms = lexicon.colors[name.color]
            bare = noun.gender == "n" and count == 1 and not definite
            color = (forms.singular if bare else forms.plural) + " "
        if count > 1:
            return f"{_NUMBERS[count - 2]} {color}{noun.plural}"
        return f"{_DEFINITE[noun.gender] if definite else 'een'} {color}{noun.singular}"

    return rules("nl", phrase, (", ", " en ", ".", " "), _LISTS, _RELATIONS)
