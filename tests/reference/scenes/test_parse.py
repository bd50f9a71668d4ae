"""The reader inverts every grammar, counts what is wrong with boxes, and survives anything."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecap.core.errors import InputError
from edgecap.reference.boxes import BIN_PX
from edgecap.reference.scenes.grammar import GRAMMAR_LANGUAGES, for_language
from edgecap.reference.scenes.grammar.base import NAMES
from edgecap.reference.scenes.graph import RELATIONS, Box, Mention, Name, Relation, Statement
from edgecap.reference.scenes.parse import Parsed, parse
from edgecap.reference.tokens import LOCATION_BINS, LOCATIONS

SIDE = BIN_PX * (LOCATION_BINS - 1)  # px of the model_input
OBJECTS = {"between": 2, "biggest": 0, "smallest": 0}


def random_box(random: Random) -> Box:
    """A box whose edges are bins, so that location tokens lose nothing."""
    x0, x1 = sorted(random.sample(range(LOCATION_BINS), 2))
    y0, y1 = sorted(random.sample(range(LOCATION_BINS), 2))
    return (x0 * BIN_PX, y0 * BIN_PX, x1 * BIN_PX, y1 * BIN_PX)


def random_relation(random: Random, kind: str) -> Relation:
    subject, *objects = random.sample(NAMES, 1 + OBJECTS.get(kind, 1))
    return Relation(kind, subject, tuple(objects))


def random_statement(random: Random, grounded: bool) -> Statement:
    """One to five mentions of one to seven things and perhaps a relation, or a relation alone."""
    mentions = []
    for name in random.sample(NAMES, random.randint(0, 5)):
        count = random.randint(1, 7)
        boxes = tuple(random_box(random) for _ in range(count)) if grounded else ()
        mentions.append(Mention(name, count, boxes))
    relation = None
    if not mentions or random.random() < 0.5:
        relation = random_relation(random, random.choice(RELATIONS))
    return Statement(tuple(mentions), relation)


@pytest.mark.parametrize("grounded", [False, True])
@pytest.mark.parametrize("language", GRAMMAR_LANGUAGES)
def test_rendered_statements_read_back_the_same(language: str, grounded: bool) -> None:
    grammar, random = for_language(language), Random(f"{language} {grounded}")
    templates = range(grammar.templates + len(grammar.held_out_templates))
    for _ in range(1500):
        statement = random_statement(random, grounded)
        text = grammar.render(statement, random.choice(templates), grounded)
        assert parse(text, language) == Parsed(statement), text


@pytest.mark.parametrize("language", GRAMMAR_LANGUAGES)
def test_truncation_and_shuffling_never_raise(language: str) -> None:
    grammar, random = for_language(language), Random(language)
    for _ in range(200):
        text = grammar.render(random_statement(random, True), 1, True)
        parse(text[: random.randrange(len(text))], language)
        parse("".join(random.sample(text, len(text))), language)


@given(
    st.lists(st.one_of(st.text(max_size=12), st.sampled_from([*LOCATIONS, " and ", ". ", "。"]))),
    st.sampled_from(GRAMMAR_LANGUAGES),
)
@settings(max_examples=300, deadline=None)
def test_garbage_never_raises(pieces: list[str], language: str) -> None:
    parsed = parse("".join(pieces), language)
    boxes = [box for mention in parsed.statement.mentions for box in mention.boxes]
    edges = sum(piece in LOCATIONS for piece in pieces)
    assert all(x0 < x1 <= SIDE and y0 < y1 <= SIDE for x0, y0, x1, y1 in boxes)
    assert 4 * len(boxes) <= edges
    assert parsed.malformed_boxes or edges % 4 == 0


def test_unknown_language_lists_the_known() -> None:
    with pytest.raises(InputError, match="en, es, fr, de, it, pt, zh, ja"):
        parse("x", "xx")


DOG = Mention(Name("dog"), 1)


def test_reader_tolerates_case_space_and_missing_stop() -> None:
    expected = Statement((DOG, Mention(Name("circle", "red"), 2)))
    assert parse("  a dog,TWO  red circles ".replace(",", ", "), "en") == Parsed(expected)
    assert parse("mit einen Hund", "de").unknown == ("mit einen hund",)
    # a wrong case is still understood
    assert parse("Ein Bild mit einen Hund.", "de") == Parsed(Statement((DOG,)))
    typographic = parse("L’éléphant est à gauche de l’avion.", "fr").statement
    assert typographic.relation == Relation("left", Name("elephant"), (Name("airplane"),))


def test_unknown_phrases_are_named_and_the_rest_is_kept() -> None:
    parsed = parse("A dog, a blorb and two cats.", "en")
    assert (parsed.unknown, parsed.unknown_things) == (("a blorb",), 1)
    assert [mention.name.noun for mention in parsed.statement.mentions] == ["dog", "cat"]
    sentence = "the blorb is to the left of the dog"
    assert parse(f"A dog. {sentence}.", "en") == Parsed(Statement((DOG,)), unknown=(sentence,))


def test_only_the_first_relation_counts() -> None:
    text = "The dog is above the cat. The dog is below the cat."
    parsed = parse(text, "en")
    assert parsed.statement.relation == Relation("above", Name("dog"), (Name("cat"),))
    assert parsed.unknown == ("the dog is below the cat",)


@pytest.mark.parametrize(
    ("text", "boxes", "malformed"),
    [
        ("A dog<loc_01><loc_02><loc_03><loc_04>.", 1, 0),
        ("A dog<loc_01><loc_02><loc_03>.", 0, 1),
        ("A dog<loc_01><loc_02><loc_03><loc_04><loc_05>.", 1, 1),
        ("A dog<loc_03><loc_02><loc_03><loc_04>.", 0, 1),  # no width
        ("A dog<loc_01><loc_04><loc_03><loc_02>.", 0, 1),  # upside down
        ("A dog<loc_01><loc_02><loc_57><loc_04>.", 0, 1),  # off the model_input
        ("A dog" + "<loc_01><loc_02><loc_03><loc_04>" * 2 + ".", 2, 0),
    ],
)
def test_faults_of_boxes_are_counted(text: str, boxes: int, malformed: int) -> None:
    parsed = parse(text, "en")
    (mention,) = parsed.statement.mentions
    assert (len(mention.boxes), parsed.malformed_boxes) == (boxes, malformed)


def test_boxes_of_nothing_are_faults() -> None:
    box = "<loc_01><loc_02><loc_03><loc_04>"
    assert parse(f"{box} and a dog{box}.", "en").malformed_boxes == 1
    assert parse(f"The dog{box} is above the cat.", "en").malformed_boxes == 1
