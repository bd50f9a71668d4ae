"""The rule of generation as a finite-state table: data, so that every host follows the same one.

A state lists the moves that may follow; a token that no move allows is never generated. Only one
thing is not in the states: that one edge of a box must lie beyond another, which compares ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecap.core.errors import BundleError

BOXES, PLAIN = "boxes", "plain"  # what may be generated: words and boxes, or words alone
MAX_STATES, MAX_ROOM = 64, 64
END_ID = 1  # of <eos>, in every bundle of schema 1
END = ((END_ID, END_ID + 1),)  # the class of <eos> alone


@dataclass(frozen=True)
class Move:
    """One way on from a state."""

    token: str  # the class of the tokens that take this move
    to: str  # the state after it
    room: int  # allowed where at least this many tokens may be generated, this one included
    above: int  # 0, or n: the token's id must exceed that of the token n places before it


@dataclass(frozen=True)
class Grammar:
    """A table of moves. Generation ends with `<eos>`, which alone leads to a state without any."""

    start: dict[str, str]  # BOXES and PLAIN -> the first state
    classes: dict[str, tuple[tuple[int, ...], ...]]  # name -> ranges of ids, [from, to)
    states: dict[str, tuple[Move, ...]]


def check_grammar(grammar: Grammar, vocabulary: int) -> None:
    """Raise BundleError (bundle.grammar) unless a host can follow the table without surprises."""
    if set(grammar.start) != {BOXES, PLAIN}:
        raise _bad(f"start must name {BOXES} and {PLAIN}")
    if len(grammar.states) > MAX_STATES or len(grammar.classes) > MAX_STATES:
        raise _bad(f"there are more than {MAX_STATES} states or classes")
    for name, ranges in grammar.classes.items():
        edges = [edge for pair in ranges for edge in pair]
        pairs = all(len(pair) == 2 for pair in ranges)
        if not edges or not pairs or edges != sorted(set(edges)) or edges[-1] > vocabulary:
            raise _bad(f"class {name!r} is not made of ascending ranges of ids below {vocabulary}")
        if edges[0] < 0:
            raise _bad(f"class {name!r} has a negative id")
    for state, moves in grammar.states.items():
        _check_moves(grammar, state, moves)
    for start in grammar.start.values():
        if not grammar.states.get(start):
            raise _bad(f"the start {start!r} is no state with moves")


def _check_moves(grammar: Grammar, state: str, moves: Sequence[Move]) -> None:
    ranges: list[tuple[int, ...]] = []
    for move in moves:
        if move.to not in grammar.states or move.token not in grammar.classes:
            raise _bad(f"state {state!r} moves by {move.token!r} to {move.to!r}; one is unknown")
        if not 1 <= move.room <= MAX_ROOM or not 0 <= move.above <= MAX_ROOM:
            raise _bad(f"state {state!r}: room must be 1-{MAX_ROOM} and above 0-{MAX_ROOM}")
        if not grammar.states[move.to] and grammar.classes[move.token] != END:
            raise _bad(f"state {state!r} ends in {move.to!r} by {move.token!r}, not by <eos>")
        ranges += grammar.classes[move.token]
    ordered = sorted(ranges)
    if any(a[1] > b[0] for a, b in zip(ordered, ordered[1:], strict=False)):
        raise _bad(f"state {state!r} has two moves for one token")


def _bad(message: str) -> BundleError:
    return BundleError("bundle.grammar", f"manifest.json: grammar: {message}.")
