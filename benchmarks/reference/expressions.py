"""Referring expressions and relation questions about a scene, with their answers.

An expression is a definite noun phrase ("the red circle"), or, where several things have the name,
one with the relation that identifies the thing ("the red circle to the left of the dog"). A
question is a true statement and the false one with the relation inverted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from edgecap.apps.grounding.phrases import COPULAS
from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Box, Name, Relation, Scene, Statement, Thing
from edgecap.reference.scenes.hard_negatives import INVERSE
from edgecap.reference.scenes.relations import holds, relations
from edgecap.reference.scenes.sample import draw_name

PAIRWISE = ("left", "right", "above", "below")


@dataclass(frozen=True)
class Expression:
    """A phrase, the box that it refers to, and how many things have the name."""

    phrase: str
    box: Box
    namesakes: int  # 1: the name is enough


def unique_expressions(scene: Scene, lang: str) -> Iterator[Expression]:
    """One for every thing whose name is unique in the scene."""
    grammar = for_language(lang)
    names = [thing.name for thing in scene.things]
    for thing in scene.things:
        if names.count(thing.name) == 1:
            yield Expression(grammar.noun_phrase(thing.name, definite=True), thing.box, 1)


def absent_phrase(scene: Scene, lang: str, rng: np.random.Generator) -> str:
    """The name of an absent thing."""
    shown = {thing.name for thing in scene.things}
    name = next(name for _ in count() if (name := draw_name(rng)) not in shown)
    return for_language(lang).noun_phrase(name, definite=True)


def ambiguous_expressions(scene: Scene, lang: str) -> Iterator[Expression]:
    """For every thing with namesakes, the first clear relation that is true of it alone.

    None in a language without an entry in COPULAS: the statement could not become a noun phrase.
    """
    if lang not in COPULAS:
        return
    names = [thing.name for thing in scene.things]
    for thing in scene.things:
        namesakes = [other for other in scene.things if other.name == thing.name]
        anchors = [other.name for other in scene.things if names.count(other.name) == 1]
        identifying = (
            relation
            for anchor in anchors
            for kind in PAIRWISE
            if (relation := Relation(kind, thing.name, (anchor,))) in _clear(scene, thing)
            and not any(_holds(scene, o, relation) for o in namesakes if o is not thing)
        )
        first = next(identifying, None)
        if len(namesakes) > 1 and first is not None:
            yield Expression(_phrase(first, lang), thing.box, len(namesakes))


def questions(scene: Scene, lang: str) -> Iterator[tuple[str, str]]:
    """(true, false) statements: for every pair of things with a clear order, one from each side.

    "The dog is left of the cat." and "The cat is right of the dog.": a bias for a word is
    right for one of them and wrong for the other.
    """
    grammar = for_language(lang)
    used_pairs: set[frozenset[Name]] = set()
    for relation in relations(scene):
        pair = frozenset((relation.subject, *relation.objects))
        if relation.kind in PAIRWISE and pair not in used_pairs:
            used_pairs.add(pair)
            reverse = Relation(INVERSE[relation.kind], relation.objects[0], (relation.subject,))
            for stated in (relation, reverse):
                inverted = replace(stated, kind=INVERSE[stated.kind])
                true, false = (grammar.render(Statement(relation=r)) for r in (stated, inverted))
                yield true, false


def _without_others(scene: Scene, thing: Thing) -> Scene:
    """The scene without the thing's namesakes, in which its name is unique."""
    kept = (other for other in scene.things if other.name != thing.name or other is thing)
    return Scene(tuple(kept), scene.size)


def _clear(scene: Scene, thing: Thing) -> list[Relation]:
    return relations(_without_others(scene, thing))


def _holds(scene: Scene, thing: Thing, relation: Relation) -> bool:
    return holds(_without_others(scene, thing), relation)


def _phrase(relation: Relation, lang: str) -> str:
    """The relation's first phrasing as a noun phrase: its statement without the "is"."""
    grammar, copula = for_language(lang), COPULAS[lang]
    stated = grammar.render(Statement(relation=relation)).removesuffix(copula.stop)
    name = grammar.noun_phrase(relation.subject, definite=True)
    joint = copula.gap + copula.word
    if stated[: len(name)].casefold() != name.casefold() or not stated[len(name) :].startswith(
        joint
    ):
        raise AssertionError(f"{lang}: {stated!r} is not {name!r} + {joint!r} + …")
    rest = stated[len(name) + len(joint) :]
    if copula.of:
        return rest.removesuffix(copula.end) + copula.of + name
    return name + rest
