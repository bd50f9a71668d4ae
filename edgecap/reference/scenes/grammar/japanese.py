"""Japanese: number and counter with の, colour, noun. One thing is the bare noun.

Verbs of seeing stand in for "there is", whose form would depend on being alive.
"""

from __future__ import annotations

from edgecap.reference.scenes.grammar.base import Rules, rules
from edgecap.reference.scenes.graph import Name
from edgecap.reference.scenes.lexicon import load

_LISTS = (
    "{0:nom}",
    "{0:nom}|の|画像",
    "{0:nom}|が|見えます",
    "ここ|に|{0:nom}|が|写って|います",
)

_RELATIONS = {
    "left": ("{0}|は|{1}|の|左側|です", "{0}|は|{1}|より|左|に|見えます"),
    "right": ("{0}|は|{1}|の|右側|です", "{0}|は|{1}|より|右|に|見えます"),
    "above": ("{0}|は|{1}|の|上側|です", "{0}|は|{1}|より|上|に|見えます"),
    "below": ("{0}|は|{1}|の|下側|です", "{0}|は|{1}|より|下|に|見えます"),
    "between": ("{0}|は|{1}|と|{2}|の|間|です", "{0}|は|{1}|と|{2}|の|間|に|見えます"),
    "biggest": ("{0}|が|一番|大きい|です", "一番|大きい|の|は|{0}|です"),
    "smallest": ("{0}|が|一番|小さい|です", "一番|小さい|の|は|{0}|です"),
}


def japanese() -> Rules:
    """The rules of Japanese."""
    lexicon = load("ja")

    def phrase(name: Name, count: int, definite: bool, case: str) -> str:
        noun = lexicon.noun(name.noun)
        counted = f"{count}|{noun.counter}|の|" if count > 1 else ""
        color = lexicon.colors[name.color].singular + "|" if name.color else ""
        return counted + color + noun.singular

    return rules("ja", phrase, ("と", "と", "。", ""), _LISTS, _RELATIONS)
