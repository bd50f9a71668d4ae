"""Parallel work in threads: images, or parts of a batch, side by side.

A worker is what one thread calls: the functions of a model, on an engine of its own or on one that
several threads may call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

Worker = TypeVar("Worker")
Item = TypeVar("Item")
Result = TypeVar("Result")


def split(items: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """The items in `count` parts of nearly the same size, in order; fewer where there are fewer."""
    count = min(count, len(items))
    ends = [len(items) * part // count for part in range(count + 1)]
    return [items[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]


def map_in_threads(
    workers: Sequence[Worker], items: Sequence[Item], work: Callable[[Worker, Item], Result]
) -> list[Result]:
    """One result per item, in order; every worker has one item at a time.

    Raises what `work` raised for the first item that failed, when all workers are done.
    """
    if len(workers) == 1 or len(items) == 1:
        return [work(workers[0], item) for item in items]
    from concurrent.futures import ThreadPoolExecutor  # most processes have one worker

    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def one(item: Item) -> Result:
        worker = idle.get()
        try:
            return work(worker, item)
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(one, items))
