"""Parse captions into scene statements: the inverse of `scenes.grammar`, for scoring captions.

Every phrase and sentence that a grammar can generate is known, so parsing is table look-up. The
parser tolerates differences in case, spacing, apostrophes, a missing full stop and a wrong
grammatical case, and never raises: it reports what it does not understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from edgecap.reference.boxes import from_bins
from edgecap.reference.scenes.grammar import Grammar, for_language
from edgecap.reference.scenes.grammar.base import MARK, Template
from edgecap.reference.scenes.graph import Box, Mention, Name, Relation, Statement
from edgecap.reference.tokens import LOCATION_BINS

_RUN = re.compile(r"((?:<loc_\d\d>\s*)+)")
_BIN = re.compile(r"<loc_(\d\d)>")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Parsed:
    """The parsed content of a caption.

    `malformed_boxes` counts runs of location tokens that are not a multiple of four, follow no
    phrase, or lie outside the model input, and boxes without area; such boxes are not in
    `statement`. `unknown` are the parts of the text that were not understood; `unknown_things` is
    how many of them are phrases of a list.
    """

    statement: Statement
    malformed_boxes: int = 0
    unknown: tuple[str, ...] = ()
    unknown_things: int = 0


def parse(text: str, lang: str) -> Parsed:
    """Parse a caption in `lang`; boxes are returned in px of the model input.

    Raises InputError for a language without a grammar; nothing else raises.
    """
    return _reader(lang).read(text)


@cache
def _reader(lang: str) -> _Reader:
    return _Reader(for_language(lang))


@dataclass(frozen=True)
class _Frame:
    """A sentence template to match; `anchor`, its longest literal, rejects most sentences fast."""

    anchor: str
    pattern: re.Pattern[str]
    literals: tuple[str, ...]
    order: tuple[int, ...]  # argument of each slot
    kind: str  # of the relation, "" for a list

    def splits(self, sentence: str) -> Iterator[tuple[str, ...]]:
        """Every way to split a matching sentence into the contents of its slots.

        There are several where only a space separates two slots (Korean).
        """
        return _splits(sentence.removeprefix(self.literals[0]), self.literals[1:])


def _splits(text: str, literals: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    literal, *rest = literals
    if not rest:
        if len(text) > len(literal) and text.endswith(literal):
            yield (text.removesuffix(literal),)
        return
    place = text.find(literal, 1)
    while place > 0:
        for others in _splits(text[place + len(literal) :], tuple(rest)):
            yield (text[:place], *others)
        place = text.find(literal, place + 1)


def _frame(template: Template, kind: str) -> _Frame:
    literals = [literal.replace(MARK, "").casefold() for literal in template.literals]
    pattern = "(.+)".join(re.escape(literal) for literal in literals)
    return _Frame(
        max(literals, key=len),
        re.compile(pattern, re.DOTALL),
        tuple(literals),
        tuple(argument for argument, _ in template.slots),
        kind,
    )


class _Reader:
    """The reversed look-up tables of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        rules = grammar.rules
        self._counted: dict[str, tuple[Name, int]] = {}
        self._definite: dict[str, Name] = {}
        for (name, count, definite, _), marked in grammar.phrases.items():
            surface = _normal(marked.replace(MARK, ""))
            if definite:
                self._definite[surface] = name
            else:
                self._counted[surface] = name, count
        self._relations = [
            _frame(template, kind)
            for kind, templates in rules.relations.items()
            for template in templates
        ]
        # The bare list, whose template is empty, matches anything, so it comes last.
        lists = [_frame(template, "") for template in rules.lists]
        self._lists = sorted(lists, key=lambda frame: -len(frame.anchor))
        self._stop = rules.stop
        separators = {re.escape(text.casefold()) for text in (rules.comma, rules.conjunction)}
        self._separator = re.compile("|".join(sorted(separators, key=len, reverse=True)))

    def read(self, text: str) -> Parsed:
        mentions: list[Mention] = []
        unknown: list[str] = []
        relation: Relation | None = None
        malformed = things = 0
        for sentence in _normal(text).split(self._stop):
            sentence = sentence.strip()
            if not sentence:
                continue
            kind, found = self._relation(sentence)
            if kind:
                if found is None or relation is not None:
                    unknown.append(sentence)
                else:
                    relation = found
                malformed += len(_RUN.findall(sentence))
                continue
            for phrase, run in self._items(sentence):
                boxes, bad = _boxes(run)
                malformed += bad
                if phrase in self._counted:
                    name, count = self._counted[phrase]
                    mentions.append(Mention(name, count, boxes))
                    continue
                if phrase:
                    unknown.append(phrase)
                    things += 1
                elif run and not bad:
                    malformed += 1  # boxes without a phrase
        return Parsed(Statement(tuple(mentions), relation), malformed, tuple(unknown), things)

    def _relation(self, sentence: str) -> tuple[str, Relation | None]:
        """The relation kind that the sentence has, and the relation if its names are known."""
        kind = ""
        for frame in self._relations:
            if frame.anchor not in sentence:
                continue
            match = frame.pattern.fullmatch(sentence)
            if match is None:
                continue
            kind = frame.kind
            for phrases in frame.splits(sentence):
                by_argument = dict(zip(frame.order, phrases, strict=True))
                names = [self._definite.get(by_argument[i].strip()) for i in sorted(by_argument)]
                known = [name for name in names if name is not None]
                if len(known) == len(names):
                    return kind, Relation(kind, known[0], tuple(known[1:]))
        return kind, None

    def _items(self, sentence: str) -> Iterator[tuple[str, str]]:
        """The phrases of a list, each with the location run that follows it."""
        for frame in self._lists:
            match = frame.anchor in sentence and frame.pattern.fullmatch(sentence)
            if match:
                sentence = match[1]
                break
        for piece in self._separator.split(sentence):
            # phrase, run, phrase, run, …, phrase: text may follow a run without a separator
            parts = _RUN.split(piece)
            for phrase, run in zip(parts[::2], [*parts[1::2], ""], strict=True):
                if run or phrase.strip():
                    yield phrase.strip(), run


def _normal(text: str) -> str:
    """Text with case, spaces and apostrophes normalised."""
    return _SPACE.sub(" ", text.replace("’", "'").casefold())


def _boxes(run: str) -> tuple[tuple[Box, ...], int]:
    """The valid boxes of a run of location tokens, and the number of invalid ones."""
    bins = [int(digits) for digits in _BIN.findall(run)]
    groups = [bins[i : i + 4] for i in range(0, len(bins) - len(bins) % 4, 4)]
    good = [
        group
        for group in groups
        if group[0] < group[2] < LOCATION_BINS and group[1] < group[3] < LOCATION_BINS
    ]
    bad = len(groups) - len(good) + bool(len(bins) % 4)
    return tuple(from_bins(group) for group in good), bad
