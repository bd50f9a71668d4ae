"""The grammars against captions written by hand, and the completeness of the lexica.

`golden_captions.tsv` holds language, statement, template and caption. A statement is mentions
"noun:colour*count" and, after ">", a relation with its subject and objects.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edgecap.core.errors import InputError
from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES, for_language
from edgecap.reference.scenes.grammar.base import MAX_COUNT, NAMES
from edgecap.reference.scenes.graph import (
    COLORS,
    RELATIONS,
    SHAPES,
    Mention,
    Name,
    Relation,
    Statement,
)
from edgecap.reference.scenes.lexicon import OBJECT, load
from edgecap.reference.scenes.nouns import NOUNS
from edgecap.reference.scenes.words import segments, words

GOLDEN = [
    line.split("\t")
    for line in (Path(__file__).parent / "golden_captions.tsv").read_text("utf-8").splitlines()
]


def read_name(text: str) -> Name:
    noun, _, color = text.partition(":")
    return Name(noun, color)


def read_statement(text: str) -> Statement:
    said, _, related = text.partition(">")
    mentions = []
    for word in said.split():
        name, _, count = word.partition("*")
        mentions.append(Mention(read_name(name), int(count or 1)))
    relation = None
    if related:
        kind, subject, *objects = related.split()
        relation = Relation(kind, read_name(subject), tuple(map(read_name, objects)))
    return Statement(tuple(mentions), relation)


@pytest.mark.parametrize(("language", "statement", "template", "caption"), GOLDEN)
def test_golden_captions(language: str, statement: str, template: str, caption: str) -> None:
    assert for_language(language).render(read_statement(statement), int(template)) == caption


def test_golden_captions_cover_every_language_and_relation() -> None:
    captions = Counter(language for language, *_ in GOLDEN)
    assert set(captions) == set(GRAMMAR_LANGUAGES)
    assert min(captions.values()) >= 15
    assert {text.split(">")[1].split()[0] for _, text, *_ in GOLDEN if ">" in text} == set(
        RELATIONS
    )


@pytest.mark.parametrize("language", GRAMMAR_LANGUAGES)
def test_lexicon_has_every_word_once(language: str) -> None:
    lexicon = load(language)
    assert set(lexicon.nouns) == {*NOUNS, *SHAPES, OBJECT}
    assert set(lexicon.colors) == set(COLORS)
    for words_of_kind in (lexicon.nouns, lexicon.colors):
        singulars = Counter(entry.singular.casefold() for entry in words_of_kind.values())
        assert singulars.most_common(1)[0][1] == 1
    for entry in (*lexicon.nouns.values(), *lexicon.colors.values()):
        for form in (entry.singular, entry.plural, entry.feminine, entry.oblique, entry.counter):
            assert form == form.strip()
            assert not set(form) & set("、和と。.,|<>")


def test_lexica_fill_the_columns_their_grammar_reads() -> None:
    for language in GRAMMAR_LANGUAGES:
        for entry in load(language).nouns.values():
            if language in ("zh", "ja", "ko"):
                assert entry.counter
            else:
                assert entry.plural
            if language in ("es", "fr", "it", "pt"):
                assert entry.gender in ("m", "f", "m'", "f'")
            if language == "de":
                assert entry.gender in ("m", "f", "n")
            if language == "nl":
                assert entry.gender in ("c", "n")


@pytest.mark.parametrize("language", GRAMMAR_LANGUAGES)
def test_a_surface_form_means_one_thing(language: str) -> None:
    meanings: dict[tuple[str, bool], tuple[Name, int]] = {}
    for (name, count, definite, _), phrase in for_language(language).phrases.items():
        key = phrase.casefold(), definite
        assert meanings.setdefault(key, (name, count)) == (name, count), phrase
    assert set(meanings.values()) == {
        (name, count) for name in NAMES for count in range(1, MAX_COUNT + 1)
    }


@pytest.mark.parametrize("language", GRAMMAR_LANGUAGES)
def test_templates_say_the_same_in_different_words(language: str) -> None:
    grammar = for_language(language)
    statement = read_statement("dog circle:red*2 > left dog cat")
    templates = [*range(grammar.templates), *grammar.held_out_templates]
    assert templates == [0, 1, 2, 3]
    assert len({grammar.render(statement, template) for template in templates}) == 4
    assert grammar.render(Statement()) == ""


def test_grounded_captions_put_boxes_after_their_phrase() -> None:
    boxes = ((4.0, 8.0, 100.0, 224.0), (0.0, 0.0, 15.0, 17.0))
    statement = Statement((Mention(Name("dog"), 1, boxes[:1]), Mention(Name("key"), 2, boxes)))
    first, second = "<loc_01><loc_02><loc_25><loc_56>", "<loc_00><loc_00><loc_04><loc_04>"
    english, japanese = (for_language(lang).render(statement, 1, True) for lang in ("en", "ja"))
    assert english == f"A picture of a dog{first} and two keys{first}{second}."
    assert japanese == f"犬{first}と2本の鍵{first}{second}の画像。"


def test_what_no_phrase_exists_for_is_refused() -> None:
    grammar = for_language("en")
    assert grammar.noun_phrase(Name("owl"), definite=True) == "the owl"
    for name, count in ((Name("unicorn"), 1), (Name("dog"), 8), (Name("dog", "red"), 1)):
        with pytest.raises(InputError, match="no indefinite phrase"):
            grammar.noun_phrase(name, count)
    with pytest.raises(InputError, match="en, es, fr, de, it, pt, zh, ja"):
        for_language("xx")


@pytest.mark.parametrize("language", GRAMMAR_LANGUAGES)
def test_words_hold_every_segment_of_the_captions(language: str) -> None:
    known = set(words(language))
    captions = [caption for code, _, _, caption in GOLDEN if code == language]
    if language in ("zh", "ja"):
        # Without spaces, the cuts are the grammar's: what it joins must be made of words.
        text = "".join(captions)
        for word in sorted(known, key=len, reverse=True):
            text = text.replace(word, " ")
        assert not text.strip()
    else:
        assert {piece for caption in captions for piece in segments(caption)} <= known


@pytest.mark.parametrize("language", GRAMMAR_LANGUAGES)
def test_no_word_holds_both_noun_and_color(language: str) -> None:
    lexicon = load(language)
    shapes = [lexicon.nouns[key].singular for key in (*SHAPES, OBJECT)]
    colors = [entry.singular for entry in lexicon.colors.values()]
    for word in words(language):
        holds_both = any(s in word for s in shapes) and any(c in word for c in colors)
        assert not holds_both, word
