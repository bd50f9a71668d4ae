"""Progress of long work on standard error: a bar on a terminal, else a line every ten seconds."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
EVERY_S = 10.0  # between two lines where standard error is a file or a pipe


def progress(
    items: Iterable[Item],
    label: str,
    total: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """Yield `items` while stderr shows how many are done.

    Work of less than ten seconds prints nothing to a log.

    Args:
        items: the items to process.
        label: a short name of the work.
        total: the number of items, if `items` has no length.
        clock: returns seconds, monotonic.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not sys.stderr.isatty():
        yield from _lines(items, label, total, clock)
        return
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, description=label, total=total, console=console, transient=True)


@contextmanager
def working(label: str, every: float = EVERY_S) -> Iterator[None]:
    """Print on standard error, every ten seconds, how long work without a count has taken.

    What the work inside does to the descriptor of standard error does not matter.
    """
    done = threading.Event()
    begun = time.monotonic()
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace") as stream:

        def report() -> None:
            while not done.wait(every):
                print(f"  {label}: {time.monotonic() - begun:.0f} s", file=stream, flush=True)

        thread = threading.Thread(target=report, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _lines(
    items: Iterable[Item], label: str, total: int | None, clock: Callable[[], float]
) -> Iterator[Item]:
    shown = clock()
    of = "" if total is None else f"/{total}"
    for done, item in enumerate(items):
        now = clock()
        if now - shown >= EVERY_S:
            print(f"  {label}: {done}{of}", file=sys.stderr, flush=True)
            shown = now
        yield item
