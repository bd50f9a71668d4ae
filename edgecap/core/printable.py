"""Texts of strangers where people look."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text without control characters and what is not Unicode."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
