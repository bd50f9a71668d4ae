"""What every command does with errors and numbers: one line on standard error, an exit code."""

from __future__ import annotations

import math
import os
import sys
from argparse import Namespace
from collections.abc import Callable

from edgecap.core.cores import MOST_THREADS
from edgecap.core.errors import EdgecapError, InputError, is_out_of_memory
from edgecap.core.printable import printable

INTERNAL_EXIT, INTERRUPTED_EXIT = 70, 130
MOST_SEED = 2**63 - 1  # what torch takes as well
_MOST = {"threads": MOST_THREADS, "seed": MOST_SEED}  # of options, in every command


def run_command(name: str, work: Callable[[], None]) -> int:
    """Do the work of the command `name`; an error is reported as `report_error` does. Returns the
    exit code.
    """
    try:
        work()
    except (Exception, KeyboardInterrupt) as error:
        return report_error(name, error)
    return 0


def report_error(name: str, error: Exception | KeyboardInterrupt) -> int:
    """Say in one line on standard error what ended the command `name`; its exit code.

    1 a gate failed, 2 refused, 70 a defect of edgecap, 130 interrupted. With EDGECAP_DEBUG=1 what
    edgecap did not raise itself is raised on, for its traceback.
    """
    if isinstance(error, EdgecapError):
        return say(name, str(error), error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return say(name, "interrupted.", INTERRUPTED_EXIT)
    if os.environ.get("EDGECAP_DEBUG") == "1":
        raise error
    if isinstance(error, OSError) and error.strerror is not None:  # a full disk names no file
        place = "" if error.filename is None else f": {error.filename}"
        return say(name, f"[system] {error.strerror}{place}.", EdgecapError.exit_code)
    # Beyond a batch, which is halved.
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        message = "[memory.exhausted] there is not enough memory for this."
        return say(name, message, EdgecapError.exit_code)
    return say(
        name,
        f"[internal] {type(error).__name__}: {error}. This is a defect of edgecap; "
        "run with EDGECAP_DEBUG=1 for the traceback.",
        INTERNAL_EXIT,
    )


def say(name: str, message: str, code: int) -> int:
    """One line of the command `name` on standard error; gives the exit code back."""
    print(f"{name}:", printable(" ".join(message.split())), file=sys.stderr)
    return code


def check_numbers(asked: Namespace, command: str, **least: int) -> None:
    """InputError for an option below its least, or above what its name may be in every command.

    One that was left out has no number to check.
    """
    for option, limit in least.items():
        most = _MOST.get(option, math.inf)
        given = getattr(asked, option)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and not limit <= number <= most:
                bound = f"at least {limit}" if number < limit else f"at most {most}"
                raise InputError(f"{command}.{option}", f"--{option} is {number}; {bound}.")
