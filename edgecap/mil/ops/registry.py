"""How a kernel enters the table of operations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kernel:
    """One operation in NumPy.

    `exact`: the output's values are among the inputs' or need no rounding to fp16 for another
    reason (moves, comparisons, integers). `required` and `known` are its inputs' names.
    """

    compute: Callable[..., Any]
    exact: bool
    required: frozenset[str]
    known: frozenset[str]


class Registry(dict[str, Kernel]):
    """The kernels of one file; a name that is there already is a defect."""

    def __call__(
        self, *names: str, exact: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A decorator that enters a function under these names, or under its own."""

        def enter(compute: Callable[..., Any]) -> Callable[..., Any]:
            for name in names or (compute.__name__.rstrip("_"),):
                self.add(name, compute, exact)
            return compute

        return enter

    def add(self, name: str, compute: Callable[..., Any], exact: bool = False) -> None:
        """Enter one kernel."""
        if name in self:
            raise ValueError(f"{name} is registered twice")
        parameters = inspect.signature(compute).parameters.values()
        required = frozenset(p.name for p in parameters if p.default is p.empty)
        self[name] = Kernel(compute, exact, required, frozenset(p.name for p in parameters))

    @staticmethod
    def merge(registries: Iterable[Registry]) -> dict[str, Kernel]:
        """All of them in one table."""
        merged: dict[str, Kernel] = {}
        for registry in registries:
            twice = merged.keys() & registry.keys()
            if twice:
                raise ValueError(f"registered in two files: {sorted(twice)}")
            merged |= registry
        return merged
