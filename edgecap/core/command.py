"""What every command does with errors, signals and numbers: one line on standard error, a code."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from edgecap.core.cores import MOST_THREADS
from edgecap.core.errors import EdgecapError, InputError, is_out_of_memory
from edgecap.core.printable import printable

INTERNAL_EXIT, INTERRUPTED_EXIT = 70, 130
MOST_SEED = 2**63 - 1  # what torch takes as well
_MOST = {"threads": MOST_THREADS, "seed": MOST_SEED}  # of options, in every command
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass
class Stopped:
    """Which signal ended a command, where one did."""

    signal: int | None = None

    def report(self, name: str) -> int:
        """Say what ended the command; its exit code is 128 + the signal's number, as in a shell."""
        if self.signal is None:
            return say(name, "interrupted.", INTERRUPTED_EXIT)
        return say(name, f"stopped by {signal.Signals(self.signal).name}.", 128 + self.signal)


@contextmanager
def signals_as_interrupt() -> Iterator[Stopped]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, so that `finally` cleans up.

    A signal that the caller ignores (nohup) or handles itself is left alone, and so are all of
    them outside the main thread.
    """
    stopped = Stopped()

    def interrupt(number: int, _: FrameType | None) -> None:
        stopped.signal = number
        raise KeyboardInterrupt

    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield stopped
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def prepare_streams() -> None:
    """Let standard output and error take any text; InputError where the output is closed.

    What an encoding lacks (Japanese in a cp1252 pipe) is written as an escape, not an error.
    """
    if sys.stderr is None:  # closed: errors have nowhere to go, and print would use the output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- lives as long as the process
    if sys.stdout is None:
        raise InputError(
            "output.closed",
            "standard output is closed.",
            "Open it, or send it away: > /dev/null",
        )
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run_command(name: str, work: Callable[[], None]) -> int:
    """Do the work of the command `name`; an error is reported as `report_error` does. Returns the
    exit code.
    """
    with signals_as_interrupt() as stopped:
        try:
            prepare_streams()
            work()
        except KeyboardInterrupt:
            return stopped.report(name)
        except Exception as error:
            return report_error(name, error)
    return 0


def report_error(name: str, error: Exception) -> int:
    """Say in one line on standard error what ended the command `name`; its exit code.

    1 a gate failed, 2 refused, 70 a defect of edgecap. With EDGECAP_DEBUG=1 what edgecap did not
    raise itself is raised on, for its traceback.
    """
    if isinstance(error, EdgecapError):
        return say(name, str(error), error.exit_code)
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


def check_numbers(args: Namespace, command: str, **least: int) -> None:
    """InputError for an option below its least, or above what its name may be in every command.

    One that was left out has no number to check.
    """
    for option, limit in least.items():
        most = _MOST.get(option, math.inf)
        given = getattr(args, option)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and not limit <= number <= most:
                bound = f"at least {limit}" if number < limit else f"at most {most}"
                raise InputError(f"{command}.{option}", f"--{option} is {number}; {bound}.")
