"""What all grammars share: tables of noun phrases, sentence templates, and rendering from them.

A language is a `Rules`: one function that makes a noun phrase, and templates with slots. Every
phrase is made once, so rendering only looks up and joins, and parsing is a reversed look-up.

Marked text. Chinese and Japanese have no spaces, so phrases and templates carry "|" where one
word ends and the next begins; rendering drops the marks, `scenes.words` cuts at them.
A template is "{0:nom} is to the left of {1:nom}": what fills a slot, and in which case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from edgecap.core.errors import InputError
from edgecap.reference.boxes import to_bins
from edgecap.reference.scenes.graph import COLORS, SHAPES, Box, Mention, Name, Relation, Statement
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.tokens import LOCATIONS

MARK = "|"
MAX_COUNT = 7  # largest number with a number word

NAMES: tuple[Name, ...] = (
    *(Name(noun) for noun in NOUNS),
    *(Name(shape, color) for shape in SHAPES for color in ("", *COLORS)),
    *(Name("", color) for color in COLORS),
)

# (name, count, definite, case) -> marked phrase
PhraseMaker = Callable[[Name, int, bool, str], str]


@dataclass(frozen=True)
class Template:
    """Literals around slots: literals[0] slot[0] literals[1] … literals[n]; a slot has a case."""

    literals: tuple[str, ...]  # marked
    slots: tuple[tuple[int, str], ...]  # (which argument, case)

    @classmethod
    def parse(cls, text: str) -> Template:
        literals, slots = [], []
        for literal, argument, case, _ in Formatter().parse(text):
            literals.append(literal)
            if argument is not None:
                slots.append((int(argument), case or "nom"))
        if len(literals) == len(slots):
            literals.append("")
        return cls(tuple(literals), tuple(slots))

    def fill(self, phrases: Sequence[str]) -> str:
        """The sentence with `phrases` in the order of the slots."""
        parts = [self.literals[0]]
        for phrase, literal in zip(phrases, self.literals[1:], strict=True):
            parts += (phrase, literal)
        return "".join(parts).replace(MARK, "")


@dataclass(frozen=True)
class Rules:
    """Everything that is specific to one language.

    `lists` are templates of one slot, the list; the last is reserved for the held-out split.
    `relations` gives per kind its phrasings, slot 0 the subject and 1, 2 the objects.
    `comma`, `conjunction`, `stop` and `gap` join items and sentences.
    `case_on_last`: of a list only the last item shows its case (particles), not each (articles).
    """

    language: str
    phrase: PhraseMaker
    comma: str
    conjunction: str
    stop: str
    gap: str
    lists: tuple[Template, ...]
    relations: Mapping[str, tuple[Template, ...]]
    case_on_last: bool = False


def rules(
    language: str,
    phrase: PhraseMaker,
    punctuation: tuple[str, str, str, str],
    lists: Sequence[str],
    relations: Mapping[str, Sequence[str]],
    case_on_last: bool = False,
) -> Rules:
    """`Rules` with templates written as text; `punctuation` is comma, conjunction, stop, gap."""
    comma, conjunction, stop, gap = punctuation
    return Rules(
        language,
        phrase,
        comma,
        conjunction,
        stop,
        gap,
        tuple(Template.parse(text) for text in lists),
        {kind: tuple(map(Template.parse, texts)) for kind, texts in relations.items()},
        case_on_last,
    )


class Grammar:
    """Renders statements in one language. Templates 0 … `templates`-1 are for training."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.templates = len(rules.lists) - 1
        self.held_out_templates = (self.templates,)
        list_cases = {case for template in rules.lists for _, case in template.slots}
        relation_cases = {
            case
            for templates in rules.relations.values()
            for template in templates
            for _, case in template.slots
        }
        # (name, count, definite, case) -> marked phrase: every name of a thing in this grammar
        self.phrases: dict[tuple[Name, int, bool, str], str] = {
            (name, count, definite, case): rules.phrase(name, count, definite, case)
            for definite, cases, top in (
                (False, list_cases | {"nom"}, MAX_COUNT),
                (True, relation_cases | {"nom"}, 1),
            )
            for case in sorted(cases)
            for name in NAMES
            for count in range(1, top + 1)
        }
        self._plain = {key: text.replace(MARK, "") for key, text in self.phrases.items()}
        self._comma, self._conjunction = (
            text.replace(MARK, "") for text in (rules.comma, rules.conjunction)
        )

    def noun_phrase(
        self, name: Name, count: int = 1, definite: bool = False, case: str = "nom"
    ) -> str:
        """`count` things called `name`; definite phrases are singular.

        Raises InputError for a name, count or case without a phrase.
        """
        try:
            return self._plain[name, count, definite, case]
        except KeyError:
            raise InputError(
                "grammar.phrase",
                f"{self.rules.language} has no {'definite' if definite else 'indefinite'} phrase "
                f"for {count} of {name} in case {case!r}.",
                f"Nouns and colours are those of the lexicon, counts 1 to {MAX_COUNT} "
                "(1 where definite).",
            ) from None

    def render(self, statement: Statement, template: int = 0, grounded: bool = False) -> str:
        """The caption; `template` is the index of the phrasing, for relations modulo their number.

        In grounded captions the boxes follow each mention, four location tokens each.
        """
        sentences = []
        if statement.mentions:
            sentences.append(self._list(statement.mentions, template, grounded))
        if statement.relation is not None:
            sentences.append(self._relation(statement.relation, template))
        return self.rules.gap.join(sentences)

    def _list(self, mentions: Sequence[Mention], template: int, grounded: bool) -> str:
        frame = self.rules.lists[template]
        ((_, case),) = frame.slots
        first = "nom" if self.rules.case_on_last else case
        cases = [first] * (len(mentions) - 1) + [case]
        items = [
            self.noun_phrase(mention.name, mention.count, False, own)
            + (locations(mention.boxes) if grounded else "")
            for mention, own in zip(mentions, cases, strict=True)
        ]
        text = self._comma.join(items[:-1])
        if len(items) > 1:
            text += self._conjunction
        return self._sentence(frame.fill((text + items[-1],)))

    def _relation(self, relation: Relation, template: int) -> str:
        phrasings = self.rules.relations[relation.kind]
        frame = phrasings[template % len(phrasings)]
        names = (relation.subject, *relation.objects)
        return self._sentence(
            frame.fill([self.noun_phrase(names[i], 1, True, case) for i, case in frame.slots])
        )

    def _sentence(self, text: str) -> str:
        return text[0].upper() + text[1:] + self.rules.stop


def locations(boxes: Sequence[Box]) -> str:
    """Boxes as text: four location tokens each, x0 y0 x1 y1."""
    return "".join(LOCATIONS[bin_] for box in boxes for bin_ in to_bins(box))
