"""A function as a list of steps over numbered slots, built once and run many times.

Values that depend only on constants are computed here: decompressed weights, folded shapes. A slot
is freed after its last use, to limit the memory of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgecap.core.errors import BundleError
from edgecap.mil.checking import refusal
from edgecap.mil.constants import Constants
from edgecap.mil.dtypes import BY_NAME
from edgecap.mil.mil import Function, Operation, Value, ValueType
from edgecap.mil.ops import KERNELS, indexing
from edgecap.mil.rounding import round_fp16

# What NumPy raises for invalid arguments; any other exception is a defect of this package.
_ARGUMENT_ERRORS = (
    *(ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError),
    AttributeError,  # a string or a state in place of an array
)


@dataclass(frozen=True, slots=True)
class Output:
    """The slot of a result, and its declared type."""

    slot: int
    type: ValueType
    dtype: np.dtype  # of the array
    rounds: bool  # to fp16


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: input slots by name (several for a list), outputs, slots to free."""

    compute: Callable[..., Any]
    inputs: tuple[tuple[str, int | tuple[int, ...]], ...]
    outputs: tuple[Output, ...]
    refuse: Callable[[str], BundleError]
    free: tuple[int, ...] = ()

    @property
    def reads(self) -> set[int]:
        """The slots of all inputs."""
        return {slot for _, at in self.inputs for slot in ((at,) if isinstance(at, int) else at)}

    def values(self, slots: list[Any]) -> dict[str, Any]:
        """The inputs by name."""
        return {
            name: slots[at] if isinstance(at, int) else [slots[each] for each in at]
            for name, at in self.inputs
        }

    def run(self, slots: list[Any]) -> None:
        """Compute and store the outputs; BundleError if the inputs are invalid.

        MemoryError is passed on: a smaller batch may fit.
        """
        try:
            results = self.compute(**self.values(slots))
            several = results if isinstance(results, tuple) else (results,)
            arrays = [
                np.asarray(result).astype(output.dtype, copy=False)
                for output, result in zip(self.outputs, several, strict=False)
            ]
        except _ARGUMENT_ERRORS as error:
            line = " ".join(str(error).split())[:200] or type(error).__name__
            raise self.refuse(line.rstrip(".")) from None
        if len(several) != len(self.outputs):
            raise self.refuse(f"it returned {len(several)} outputs, not {len(self.outputs)}")
        for output, array in zip(self.outputs, arrays, strict=True):
            if not fits(array.shape, output.type.shape):
                raise self.refuse(
                    f"it returned {list(array.shape)}; the program declares {output.type}"
                )
            slots[output.slot] = round_fp16(array) if output.rounds else array
        for slot in self.free:
            slots[slot] = None


@dataclass(frozen=True)
class Schedule:
    """Slots with the constants filled in, the slots of inputs and outputs, and the steps."""

    slots: tuple[Any, ...]
    inputs: dict[str, int]
    outputs: dict[str, int]
    steps: tuple[Step, ...]


def fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    """Whether a shape matches the declared one, in which None is any size."""
    return len(shape) == len(declared) and all(
        want is None or size == want for size, want in zip(shape, declared, strict=True)
    )


def make_schedule(function: Function, constants: Constants) -> Schedule:
    """The schedule of a checked function; BundleError if constant folding fails."""
    return _Scheduler(function, constants).schedule()


class _Scheduler:
    def __init__(self, function: Function, constants: Constants) -> None:
        self._function, self._constants = function, constants
        self._slots: list[Any] = []
        self._constant: list[bool] = []
        self._names: dict[str, int] = {}

    def schedule(self) -> Schedule:
        for named in self._function.inputs:
            self._names[named.name] = self._new(None, False)
        inputs = dict(self._names)
        steps = []
        with np.errstate(all="ignore"):
            for operation in self._function.block.operations:
                step = self._add(operation)
                if step is not None:
                    steps.append(step)
        outputs = {name: self._names[name] for name in self._function.block.outputs}
        return Schedule(tuple(self._slots), inputs, outputs, self._freeing(steps, outputs))

    def _new(self, value: Any, constant: bool) -> int:
        self._slots.append(value)
        self._constant.append(constant)
        return len(self._slots) - 1

    def _add(self, operation: Operation) -> Step | None:
        """The step for an operation; None if its result is a constant."""
        if operation.type == "const":
            value = self._constants.load(operation.attributes["val"])
            self._names[operation.outputs[0].name] = self._new(value, True)
            return None
        kernel = KERNELS[operation.type]
        compute = kernel.compute
        if operation.type in indexing.OPS and self._function.opset not in indexing.ALLOW_NEGATIVE:
            compute = indexing.refuse_negative(compute)
        inputs = tuple(
            (name, self._bind(name, bound)) for name, bound in operation.arguments.items() if bound
        )
        outputs = []
        for named in operation.outputs:
            slot = self._names[named.name] = self._new(None, False)
            dtype = BY_NAME[named.type.dtype]
            rounds = dtype.name == "fp16" and not kernel.exact
            outputs.append(Output(slot, named.type, dtype.computed, rounds))
        where = f"{operation.type} at {operation.place!r}"

        def refuse(what: str) -> BundleError:
            return refusal(self._function, where, what)

        step = Step(compute, inputs, tuple(outputs), refuse)
        if all(self._constant[slot] for slot in step.reads) and outputs:
            self._fold(operation.type, step)
            return None
        return step

    def _bind(self, name: str, bound: tuple[str | Value, ...]) -> int | tuple[int, ...]:
        slots = tuple(
            self._names[each]
            if isinstance(each, str)
            else self._new(self._constants.load(each), True)
            for each in bound
        )
        return slots if name == "values" else slots[0]  # of concat, stack and einsum

    def _fold(self, operation: str, step: Step) -> None:
        """Compute a step whose inputs are all constants, or reuse the cached result."""
        types = tuple(str(output.type) for output in step.outputs)

        def compute() -> tuple[Any, ...]:
            try:
                step.run(self._slots)
            except MemoryError:  # independent of the batch: the file declares such a constant
                raise step.refuse("its result does not fit in memory") from None
            return tuple(self._slots[output.slot] for output in step.outputs)

        results = self._constants.once(f"{operation} {types}", step.values(self._slots), compute)
        for output, result in zip(step.outputs, results, strict=True):
            self._slots[output.slot] = result
            self._constant[output.slot] = True

    def _freeing(self, steps: list[Step], outputs: dict[str, int]) -> tuple[Step, ...]:
        """The same steps, each freeing the slots that no later step reads."""
        needed = set(outputs.values())
        freeing = []
        for step in reversed(steps):
            touched = step.reads | {output.slot for output in step.outputs}
            free = {slot for slot in touched - needed if not self._constant[slot]}
            needed |= touched
            freeing.append(replace(step, free=tuple(sorted(free))))
        return tuple(reversed(freeing))
