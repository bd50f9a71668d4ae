"""What every `python -m` command of this package does with errors; `edgecap` itself: cli/app.py."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable

from edgecap.core.errors import EdgecapError, InputError


def guarded(name: str, work: Callable[[], None]) -> int:
    """Do the work of the command `name`; an error becomes one line on standard error.

    Returns the exit code.
    """
    try:
        work()
    except EdgecapError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def check_numbers(asked: Namespace, command: str, **least: int) -> None:
    """InputError for an option below its least; one that was left out has no number to check."""
    for option, limit in least.items():
        given = getattr(asked, option)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and number < limit:
                raise InputError(
                    f"{command}.{option}", f"--{option} is {number}; at least {limit}."
                )
