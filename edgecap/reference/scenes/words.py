"""The words that a grammar can generate, segmented for training a tokenizer.

No segment contains two words, so no learned token can join a noun to its colour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgecap.reference.scenes.grammar import for_language

# A word with its space and the apostrophe that ends it, or one mark of punctuation.
_SEGMENT = re.compile(r" ?[^\s'.,、。|]+'?|[.,、。]")
_SPACE_MARK = "▁"


def segments(text: str) -> list[str]:
    """Segment marked text: " dogs, l'avion" gives "▁dogs", ",", "▁l'", "avion"."""
    return [piece.replace(" ", _SPACE_MARK) for piece in _SEGMENT.findall(text)]


def words(lang: str) -> Iterator[str]:
    """Every segment of the captions in `lang`, once, in a fixed order.

    "▁" stands for the space before a word; a sentence's first word also comes capitalised, with
    the space and (opening the caption) without.
    Raises InputError for a language without a grammar.
    """
    grammar = for_language(lang)
    rules = grammar.rules
    spaced = rules.gap != ""
    known_pieces: set[str] = set()
    templates = [*rules.lists, *(t for group in rules.relations.values() for t in group)]
    leading = {template.slots[0][1] for template in templates if not template.literals[0]}

    def pieces() -> Iterator[str]:
        for joint in (rules.comma, rules.conjunction, rules.stop):
            yield from segments(joint)
        for template in templates:
            for literal in template.literals[1:]:
                yield from segments(literal)
            yield from opening(template.literals[0])
        for (_, _, _, case), phrase in grammar.phrases.items():
            yield from segments(" " + phrase if spaced else phrase)
            if case in leading:
                yield from opening(phrase)

    def opening(text: str) -> Iterator[str]:
        if text:
            capital = text[0].upper() + text[1:]
            yield from segments(capital)
            if spaced:
                yield from segments(" " + capital)

    for piece in pieces():
        if piece not in known_pieces:
            known_pieces.add(piece)
            yield piece
