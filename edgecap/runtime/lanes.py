"""Work on several threads: images, or shares of a batch, side by side.

A lane is what one thread works with: the functions of a model on an engine of its own, or on one
that several threads may call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

Lane = TypeVar("Lane")
Item = TypeVar("Item")
Result = TypeVar("Result")


def shares(items: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """The items in `count` parts of nearly the same size, in order; fewer where there are fewer."""
    count = min(count, len(items))
    ends = [len(items) * part // count for part in range(count + 1)]
    return [items[begin:end] for begin, end in zip(ends, ends[1:], strict=False)]


def on_lanes(
    lanes: Sequence[Lane], items: Sequence[Item], work: Callable[[Lane, Item], Result]
) -> list[Result]:
    """One result per item, in order; every lane has one item at a time.

    Raises what `work` raised for the first item that failed, when no lane works any more.
    """
    if len(lanes) == 1 or len(items) == 1:
        return [work(lanes[0], item) for item in items]
    from concurrent.futures import ThreadPoolExecutor  # most processes have one lane

    idle: SimpleQueue[Lane] = SimpleQueue()
    for lane in lanes:
        idle.put(lane)

    def one(item: Item) -> Result:
        lane = idle.get()
        try:
            return work(lane, item)
        finally:
            idle.put(lane)

    with ThreadPoolExecutor(len(lanes)) as pool:
        return list(pool.map(one, items))
