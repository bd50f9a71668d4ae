"""A good JSON value with one place spoilt, in every place and every way of a list."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    3,
    1.5,
    1 << 70,
    1e300,
    "",
    "a",
    "▁",
    "\ud800",
    [],
    [1],
    [1, 2],
    ["a", "b"],
    [None, None],
    [[1], {}],
    {},
    {"a": {}},
    {"2": {}},
    {"2": 3},
    {"height": "a", "width": 2},
    {"height": 2, "width": 2},
    {"shortest_edge": "a"},
    {"shortest_edge": -3},
    {"longest_edge": [1]},
    {"longest_edge": 5},
]


def spoilt(good: Any) -> Iterator[Any]:
    """Copies of a value in which one place, the whole included, holds each of VALUES or is gone."""
    for place in _places(good):
        for value in VALUES:
            yield _with(good, place, value)
        if place and isinstance(place[-1], str):
            yield _with(good, place, ...)
    if isinstance(good, dict):
        yield good | {"unheard_of": 1}


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if not isinstance(value, (dict, list)):
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _places(item, (*path, key))


def _with(good: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    changed = copy.deepcopy(good)
    target = changed
    for step in place[:-1]:
        target = target[step]
    if value is ...:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    return changed
