"""Error, signal and number handling of every command: one line on stderr and an exit code."""

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
MOST_SEED = 2**63 - 1  # torch's limit
_MOST = {"threads": MOST_THREADS, "seed": MOST_SEED}  # upper limits of options, in every command
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass
class Stopped:
    """The signal that stopped a command, if any."""

    signal: int | None = None

    def report(self, name: str) -> int:
        """Print what stopped the command; the exit code is 128 + signal number, as in a shell."""
        if self.signal is None:
            return print_error(name, "interrupted.", INTERRUPTED_EXIT)
        return print_error(
            name, f"stopped by {signal.Signals(self.signal).name}.", 128 + self.signal
        )


@contextmanager
def signals_as_interrupt() -> Iterator[Stopped]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, so that `finally` cleans up.

    Signals that the caller ignores (nohup) or handles itself are not changed, nor is any signal
    outside the main thread.
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
    """Let stdout and stderr accept any text; InputError if stdout is closed.

    Characters that the encoding lacks (Japanese in a cp1252 pipe) are written as escapes.
    """
    if sys.stderr is None:  # closed: discard errors, otherwise print would write them to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- lives as long as the process
    if sys.stdout is None:
        raise InputError(
            "output.closed",
            "standard output is closed.",
            "Open it, or discard it: > /dev/null",
        )
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run_command(name: str, work: Callable[[], None]) -> int:
    """Run the command `name` with errors reported by `report_error`; returns the exit code."""
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
    """Print one line about the error that stopped the command `name`; returns the exit code.

    1 a gate failed, 2 invalid input, 70 a defect of edgecap. With EDGECAP_DEBUG=1, errors that
    edgecap did not raise itself are re-raised, for their traceback.
    """
    if isinstance(error, EdgecapError):
        return print_error(name, str(error), error.exit_code)
    if os.environ.get("EDGECAP_DEBUG") == "1":
        raise error
    if isinstance(error, OSError) and error.strerror is not None:  # a full disk names no file
        place = "" if error.filename is None else f": {error.filename}"
        return print_error(name, f"[system] {error.strerror}{place}.", EdgecapError.exit_code)
    # Out of memory outside batches, which are halved and retried.
    if isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error):
        message = "[memory.exhausted] there is not enough memory for this."
        return print_error(name, message, EdgecapError.exit_code)
    return print_error(
        name,
        f"[internal] {type(error).__name__}: {error}. This is a defect of edgecap; "
        "run with EDGECAP_DEBUG=1 for the traceback.",
        INTERNAL_EXIT,
    )


def print_error(name: str, message: str, code: int) -> int:
    """Print one line of the command `name` on stderr; returns the exit code."""
    print(f"{name}:", printable(" ".join(message.split())), file=sys.stderr)
    return code


def check_numbers(args: Namespace, command: str, **least: int) -> None:
    """Raise InputError for an option below its minimum here or above its maximum in all commands.

    Options without a value are not checked.
    """
    for option, limit in least.items():
        most = _MOST.get(option, math.inf)
        given = getattr(args, option)
        for number in given if isinstance(given, list) else [given]:
            if number is not None and not limit <= number <= most:
                bound = f"at least {limit}" if number < limit else f"at most {most}"
                raise InputError(f"{command}.{option}", f"--{option} is {number}; {bound}.")
