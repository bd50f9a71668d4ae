"""English: a or an by the first letter, colour before the noun."""

from __future__ import annotations

from edgecap.reference.scenes.grammar.base import Rules, rules
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.lexicon import load

_NUMBERS = ("two", "three", "four", "five", "six", "seven")

_LISTS = (
    "{0:nom}",
    "a picture of {0:nom}",
    "this image shows {0:nom}",
    "here we see {0:nom}",
)

_RELATIONS = {
    "left": ("{0} is to the left of {1}", "{0} is left of {1}"),
    "right": ("{0} is to the right of {1}", "{0} is right of {1}"),
    "above": ("{0} is above {1}", "{0} is higher up than {1}"),
    "below": ("{0} is below {1}", "{0} is lower down than {1}"),
    "between": ("{0} is between {1} and {2}", "{0} is in between {1} and {2}"),
    "biggest": ("{0} is the biggest object", "the biggest object is {0}"),
    "smallest": ("{0} is the smallest object", "the smallest object is {0}"),
}


def english() -> Rules:
    """The rules of English."""
    lexicon = load("en")

    def phrase(name: Name, count: int, definite: bool, case: str) -> str:
        noun = lexicon.noun(name.noun)
        color = lexicon.colors[name.color].singular + " " if name.color else ""
        if count > 1:
            return f"{_NUMBERS[count - 2]} {color}{noun.plural}"
        words = color + noun.singular
        if definite:
            return f"the {words}"
        # No noun here starts with a silent h or a "yoo", so the letter decides.
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"

    return rules("en", phrase, (", ", " and ", ".", " "), _LISTS, _RELATIONS)
