"""Work in batches as large as memory allows, without losing or repeating an item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from edgecap.core.errors import InputError, UnsupportedError

BATCH = 8  # images or texts per call of an engine on a CPU; more gains nothing (LOG.md)

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    items: Iterable[Item], size: int, work: Callable[[Sequence[Item]], Sequence[Result]]
) -> Iterator[Result]:
    """Yield one result per item, in order, `work` being given at most `size` items at a time.

    Items are taken from `items` when a batch needs them. Where `work` raises MemoryError the batch
    is halved and tried again, and later ones are no larger; a batch has no results until it is
    done, so none is lost or given twice. Raises UnsupportedError (memory.exhausted) where not even
    one item fits.
    """
    source = iter(items)
    waiting: list[Item] = []
    while waiting := waiting + list(islice(source, max(0, size - len(waiting)))):
        try:
            results = work(waiting[:size])
        except MemoryError:
            if size == 1 or len(waiting) == 1:
                raise UnsupportedError(
                    "memory.exhausted",
                    "not even one image fits in the memory there is.",
                    "Free some, or take a smaller model.",
                ) from None
            size = min(size, len(waiting)) // 2
            continue
        yield from results
        waiting = waiting[size:]


def in_batches_past_errors(
    items: Iterable[Item | InputError],
    size: int,
    work: Callable[[Sequence[Item]], Sequence[Result]],
) -> Iterator[Result | InputError]:
    """`in_batches` of items some of which could not be read: their errors come in their places."""

    def past(given: Sequence[Item | InputError]) -> list[Result | InputError]:
        read = [one for one in given if not isinstance(one, InputError)]
        done = iter(work(read) if read else [])
        return [one if isinstance(one, InputError) else next(done) for one in given]

    return in_batches(items, size, past)
