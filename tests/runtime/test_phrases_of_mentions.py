"""Where a mention's phrase begins, for everything that a grammar can call a thing."""

import pytest

from edgecap.reference.scenes.grammar import for_language
from edgecap.reference.scenes.graph import Mention, Name, Statement
from edgecap.reference.tokens import LANGUAGES
from edgecap.runtime.mentions import phrase_start

FIRST = Mention(Name("dog"), 2)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_phrase_begins_with_its_article_or_number(lang: str) -> None:
    grammar = for_language(lang)
    wrong = set()
    for template, frame in enumerate(grammar.rules.lists):
        ((_, case),) = frame.slots
        for (name, count, definite, own), _ in grammar.phrases.items():
            if definite or own != case:
                continue
            phrase = grammar.noun_phrase(name, count, False, case)
            for before in ((), (FIRST,)):
                text = grammar.render(Statement((*before, Mention(name, count))), template)
                end = text.lower().rindex(phrase.lower()) + len(phrase)
                start = 0
                if before:  # a mention's text goes on where the one before it ended
                    first = grammar.noun_phrase(
                        FIRST.name, 2, False, "nom" if grammar.rules.case_on_last else case
                    )
                    start = text.lower().index(first.lower()) + len(first)
                found = text[start + phrase_start(text[start:end], lang) : end]
                if found.lower() != phrase.lower():
                    wrong.add((found, phrase))
    assert wrong == set()
