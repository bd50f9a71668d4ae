"""Constants in the evaluator's own form, each loaded once even if several functions share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecap.mil.mil import Value
from edgecap.mil.package import Package
from edgecap.mil.rounding import widen_fp16

Constant = np.ndarray | str | tuple[str, ...]


class Constants:
    """Loads a package's constants, and caches values computed from constants only.

    Equal constants are returned as the same object, so object identity is the cache key of a
    computation. Everything is kept for the lifetime of this object.
    """

    def __init__(self, package: Package) -> None:
        self._package = package
        self._loaded: dict[Any, Constant] = {}
        self._computed: dict[Any, tuple[Any, ...]] = {}

    def load(self, value: Value) -> Constant:
        """The constant: tensors in dtypes.computed, read-only. Raises as Package.array."""
        if value.blob is not None:
            key: Any = (value.blob, value.type)
        elif isinstance(value.data, np.ndarray):
            key = (value.type, value.data.tobytes())
        else:
            key = value.data
        if key not in self._loaded:
            self._loaded[key] = _computed(self._package.array(value))
        return self._loaded[key]

    def once(
        self, operation: str, inputs: dict[str, Any], compute: Callable[[], tuple[Any, ...]]
    ) -> tuple[Any, ...]:
        """The result of `compute`, called once per set of constants (from `load` or from here)."""
        key = (operation, *((name, _identity(inputs[name])) for name in sorted(inputs)))
        if key not in self._computed:
            self._computed[key] = compute()
        return self._computed[key]


def _identity(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_identity, value))
    return id(value) if isinstance(value, np.ndarray) else value


def _computed(stored: Constant) -> Constant:
    if not isinstance(stored, np.ndarray):
        return stored
    array = widen_fp16(stored) if stored.dtype == np.float16 else stored.view()
    array.flags.writeable = False
    return array
