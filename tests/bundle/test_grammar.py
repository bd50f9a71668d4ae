"""The table of the rule: what a bundle may say, and that ours says what it should."""

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from edgecap.bundle.grammar import BOXES, PLAIN, Grammar, Move, check_grammar
from edgecap.core.errors import BundleError
from edgecap.core.typed import decode, dump, parse
from edgecap.reference.manifest import box_grammar
from edgecap.reference.tokens import EOS_ID, FIRST_LOCATION_ID, ID, LOCATION_BINS, SPECIALS

V = 4096
OURS = box_grammar(V)


def test_ours_is_in_order() -> None:
    check_grammar(OURS, V)


def test_it_travels_as_json() -> None:
    assert decode(Grammar, parse(dump(OURS), "grammar"), "grammar") == OURS
    assert len(dump(OURS)) < 4000


def follow(tokens: list[int], start: str, length: int) -> bool:
    """A reader of the table written from SPEC.md alone: whether it lets the tokens through."""
    table = parse(dump(OURS), "grammar")
    state = table["start"][start]
    for n, token in enumerate(tokens):
        for move in table["states"][state]:
            ranges = table["classes"][move["token"]]
            above = move["above"]
            if (
                any(first <= token < last for first, last in ranges)
                and length - n >= move["room"]
                and (not above or token > tokens[n - above])
            ):
                state = move["to"]
                break
        else:
            return False
    return True


def box(*edges: int) -> list[int]:
    return [FIRST_LOCATION_ID + edge for edge in edges]


WORD, LAST = len(SPECIALS), LOCATION_BINS - 1


@pytest.mark.parametrize(
    ("tokens", "start", "length", "fits"),
    [
        ([WORD, *box(0, 0, 1, 1), WORD, EOS_ID], BOXES, 9, True),
        ([*box(3, 9, 4, LAST), *box(0, 0, LAST, LAST), EOS_ID], BOXES, 9, True),
        ([WORD, *box(5, 0, 5, 1)], BOXES, 9, False),  # no width
        ([WORD, *box(5, 7, 6, 6)], BOXES, 9, False),  # upside down
        ([*box(LAST)], BOXES, 9, False),  # no room on the model_input
        ([*box(0, LAST)], BOXES, 9, False),
        ([*box(0, 0, 1), WORD], BOXES, 9, False),  # left unfinished
        ([*box(0, 0, 1), EOS_ID], BOXES, 9, False),
        ([WORD, *box(0, 0, 1, 1)], BOXES, 5, True),  # just fits
        ([WORD, WORD, *box(0, 0, 1, 1)], BOXES, 5, False),
        ([WORD, *box(0)], PLAIN, 9, False),
        ([WORD, EOS_ID], PLAIN, 9, True),
        ([EOS_ID, WORD], BOXES, 9, False),  # nothing after the end
        ([ID["<text>"]], BOXES, 9, False),
        ([ID["<en>"]], PLAIN, 9, False),
    ],
)
def test_what_ours_lets_through(tokens: list[int], start: str, length: int, fits: bool) -> None:
    assert follow(tokens, start, length) is fits


def with_state(*moves: Move) -> Grammar:
    return replace(OURS, states={**OURS.states, "text": moves})


BROKEN: list[Callable[[], Grammar]] = [
    lambda: replace(OURS, start={BOXES: "text"}),
    lambda: replace(OURS, start={BOXES: "text", PLAIN: "nowhere"}),
    lambda: replace(OURS, classes={**OURS.classes, "word": ((81, V + 1),)}),
    lambda: replace(OURS, classes={**OURS.classes, "word": ((-1, V),)}),
    lambda: replace(OURS, classes={**OURS.classes, "word": ((9, 9),)}),
    lambda: replace(OURS, classes={**OURS.classes, "word": ((90, 99), (80, 85))}),
    lambda: replace(OURS, classes={**OURS.classes, "word": ((81,),)}),
    lambda: replace(OURS, classes={**OURS.classes, "word": ()}),
    lambda: replace(OURS, states={**OURS.states, **{str(i): () for i in range(99)}}),
    lambda: replace(OURS, start={BOXES: "text", PLAIN: "end"}),
    lambda: with_state(Move("word", "nowhere", 1, 0)),
    lambda: with_state(Move("word", "end", 1, 0)),
    lambda: with_state(Move("noun", "text", 1, 0)),
    lambda: with_state(Move("word", "text", 0, 0)),
    lambda: with_state(Move("edge", "text", 1, 1000)),
    lambda: with_state(Move("edge", "x0", 1, 0), Move("corner", "x0", 1, 0)),
    lambda: replace(OURS, states={**OURS.states, "text": (Move("word", "text", 1, 0),)}),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_tables_are_refused(broken: Callable[[], Grammar]) -> None:
    with pytest.raises(BundleError) as caught:
        check_grammar(broken(), V)
    assert caught.value.code == "bundle.grammar"


def test_a_manifest_without_the_table_or_with_more_is_refused() -> None:
    for change in ({"speed": 1}, {"states": None}):
        value = {**parse(dump(asdict(OURS)), "g"), **change}
        with pytest.raises(BundleError):
            decode(Grammar, value, "grammar")
