"""Batched work with batches as large as memory allows; each item is processed exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from edgecap.core.errors import InputError, UnsupportedError

BATCH = 8  # images or texts per call on a CPU; larger batches are not faster (LOG.md)

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(
    items: Iterable[Item], size: int, work: Callable[[Sequence[Item]], Sequence[Result]]
) -> Iterator[Result]:
    """Yield one result per item, in order; `work` gets at most `size` items at a time.

    Items are read lazily, one batch at a time. If `work` raises MemoryError, the batch is halved
    and retried, and later batches are no larger; a batch yields results only when complete, so
    none is lost or repeated. Raises UnsupportedError (memory.exhausted) if a single item does not
    fit.
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
                    "a single image does not fit in the free memory.",
                    "Free some memory, or use a smaller model.",
                ) from None
            size = min(size, len(waiting)) // 2
            continue
        yield from results
        waiting = waiting[size:]


def numbered(items: Iterable[Item | InputError]) -> Iterator[tuple[int, Item] | InputError]:
    """Items with their places, counted from 0; errors stay as they are and are counted."""
    for place, item in enumerate(items):
        yield item if isinstance(item, InputError) else (place, item)


def in_batches_past_errors(
    items: Iterable[Item | InputError],
    size: int,
    work: Callable[[Sequence[Item]], Sequence[Result]],
) -> Iterator[Result | InputError]:
    """`in_batches` over items of which some are errors; errors are yielded in their places."""

    def work_on_valid(batch: Sequence[Item | InputError]) -> list[Result | InputError]:
        valid = [item for item in batch if not isinstance(item, InputError)]
        results = iter(work(valid) if valid else [])
        return [item if isinstance(item, InputError) else next(results) for item in batch]

    return in_batches(items, size, work_on_valid)
