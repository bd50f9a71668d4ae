"""Registration of kernels in the table of operations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kernel:
    """One operation in NumPy.

    `exact`: the output needs no rounding to fp16 (moves, comparisons, integers). `required` and
    `known` are input names.
    """

    compute: Callable[..., Any]
    exact: bool
    required: frozenset[str]
    known: frozenset[str]


class Registry(dict[str, Kernel]):
    """The kernels of one file; ValueError for a name that is registered twice."""

    def __call__(
        self, *names: str, exact: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A decorator that registers a function under these names, or under its own."""

        def register(compute: Callable[..., Any]) -> Callable[..., Any]:
            for name in names or (compute.__name__.rstrip("_"),):
                self.add(name, compute, exact)
            return compute

        return register

    def add(self, name: str, compute: Callable[..., Any], exact: bool = False) -> None:
        """Register one kernel."""
        if name in self:
            raise ValueError(f"{name} is registered twice")
        parameters = inspect.signature(compute).parameters.values()
        required = frozenset(p.name for p in parameters if p.default is p.empty)
        self[name] = Kernel(compute, exact, required, frozenset(p.name for p in parameters))

    @staticmethod
    def merge(registries: Iterable[Registry]) -> dict[str, Kernel]:
        """All kernels in one table."""
        merged: dict[str, Kernel] = {}
        for registry in registries:
            twice = merged.keys() & registry.keys()
            if twice:
                raise ValueError(f"registered in two files: {sorted(twice)}")
            merged |= registry
        return merged
