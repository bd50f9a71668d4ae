"""Makes untrusted text safe to print on a terminal, in a table or in an error."""

from __future__ import annotations


def printable(text: str) -> str:
    """Replace every control character and lone surrogate by U+FFFD.

    The result cannot move the cursor, colour a terminal, change the text direction or start a new
    line.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
