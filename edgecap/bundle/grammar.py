"""The token grammar of constrained decoding: a finite-state table, so that all hosts agree.

A state lists the allowed moves; a token that no move allows is never generated. One condition is
not expressed by states: an edge of a box must be beyond an earlier one, which compares ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecap.core.errors import BundleError

BOXES, PLAIN = "boxes", "plain"  # start states: words and boxes, or words only
MAX_STATES, MAX_ROOM = 64, 64
END_ID = 1  # of <eos>, in every bundle of schema 1
END = ((END_ID, END_ID + 1),)  # the class of <eos> alone


@dataclass(frozen=True)
class Move:
    """One transition."""

    token: str  # the class of tokens of this move
    to: str  # the next state
    room: int  # allowed if at least this many tokens may still be generated, this one included
    above: int  # 0, or n: the token's id must exceed that of the n-th token before it


@dataclass(frozen=True)
class Grammar:
    """A table of moves. Generation ends with `<eos>`; only it leads to a state without moves."""

    start: dict[str, str]  # BOXES and PLAIN -> the first state
    classes: dict[str, tuple[tuple[int, ...], ...]]  # name -> ranges of ids, [from, to)
    states: dict[str, tuple[Move, ...]]


def check_grammar(grammar: Grammar, vocabulary: int) -> None:
    """Raise BundleError (bundle.grammar) for an invalid table."""
    if set(grammar.start) != {BOXES, PLAIN}:
        raise _bad(f"start must name {BOXES} and {PLAIN}")
    if len(grammar.states) > MAX_STATES or len(grammar.classes) > MAX_STATES:
        raise _bad(f"there are more than {MAX_STATES} states or classes")
    for name, ranges in grammar.classes.items():
        edges = [edge for pair in ranges for edge in pair]
        pairs = all(len(pair) == 2 for pair in ranges)
        if not edges or not pairs or edges != sorted(set(edges)) or edges[-1] > vocabulary:
            raise _bad(f"class {name!r} must have ascending ranges of ids up to {vocabulary}")
        if edges[0] < 0:
            raise _bad(f"class {name!r} has a negative id")
    for state, moves in grammar.states.items():
        _check_moves(grammar, state, moves)
    for start in grammar.start.values():
        if not grammar.states.get(start):
            raise _bad(f"the start {start!r} is not a state with moves")
    endless = grammar.states.keys() - _ending(grammar)
    if endless:
        raise _bad(f"no way leads from state {min(endless)!r} to <eos>")


def _check_moves(grammar: Grammar, state: str, moves: Sequence[Move]) -> None:
    ranges: list[tuple[int, ...]] = []
    for move in moves:
        if move.to not in grammar.states or move.token not in grammar.classes:
            raise _bad(f"state {state!r}: class {move.token!r} or state {move.to!r} is unknown")
        if not 1 <= move.room <= MAX_ROOM or not 0 <= move.above <= MAX_ROOM:
            raise _bad(f"state {state!r}: room must be 1-{MAX_ROOM} and above 0-{MAX_ROOM}")
        if not grammar.states[move.to] and grammar.classes[move.token] != END:
            raise _bad(f"state {state!r} ends in {move.to!r} with {move.token!r}, not with <eos>")
        ranges += grammar.classes[move.token]
    ordered = sorted(ranges)
    if any(a[1] > b[0] for a, b in zip(ordered, ordered[1:], strict=False)):
        raise _bad(f"state {state!r} has two moves for one token")


def _ending(grammar: Grammar) -> set[str]:
    """The states from which moves lead to a state without moves, which is behind <eos>."""
    ending = {state for state, moves in grammar.states.items() if not moves}
    while True:
        more = {
            state
            for state, moves in grammar.states.items()
            if state not in ending and any(move.to in ending for move in moves)
        }
        if not more:
            return ending
        ending |= more


def _bad(message: str) -> BundleError:
    return BundleError("bundle.grammar", f"manifest.json: grammar: {message}.")
