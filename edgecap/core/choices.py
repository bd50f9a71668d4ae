"""Validation of a name against a list of allowed names, with a helpful error."""

from __future__ import annotations

from collections.abc import Iterable

from edgecap.core.errors import InputError


def pick(what: str, got: str, allowed: Iterable[str]) -> str:
    """Return `got` if it is allowed.

    Raises InputError with the code `<what>.unknown`, the allowed names and the closest of them.
    """
    names = list(allowed)
    if got in names:
        return got
    raise InputError(
        f"{what}.unknown",
        f"unknown {what} {got!r}; allowed: {', '.join(names)}.",
        did_you_mean(got, names),
    )


def did_you_mean(got: str, names: Iterable[str]) -> str:
    """A hint with the name closest to `got`; empty if none is close."""
    from difflib import get_close_matches  # only errors need it

    close = get_close_matches(got.lower(), list(names), n=1)
    return f"Did you mean {close[0]!r}?" if close else ""
