"""Untrusted text where people look: on a terminal, in a table, in an error."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with a replacement character for each control character and lone surrogate.

    Nothing that is left can move the cursor, colour a terminal, turn the direction of writing or
    begin a new line.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
