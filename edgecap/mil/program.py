"""Running CoreML ML programs in NumPy on any system.

    program = Program.open("model.mlpackage")
    outputs = program.function("decode").run({"token": token, ...})

It evaluates the meaning of a program; it does not reproduce the speed or rounding of a device.

Numbers. Every value has the type that the program declares. fp32 is computed in float32. An fp16
value is rounded to fp16 once per operation, to nearest, ties to even; within an operation all
steps are float32. So matmul, linear, conv, conv_transpose, einsum, scaled_dot_product_attention,
softmax, the norms, the reductions and the pools accumulate in float32, and an activation is rounded
once. Apple documents the types of a program's values ("Typed execution" in the coremltools guide)
and not the arithmetic within an operation. Float32 accumulation of fp16 products is known of the
CPU and GPU paths (BNNS, Metal Performance Shaders); for the Neural Engine it is undocumented and
may differ. A fused operation, too, may round less often on a device than its parts do here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgecap.core.choices import pick
from edgecap.core.errors import InputError
from edgecap.mil.checking import check_function
from edgecap.mil.constants import Constants
from edgecap.mil.dtypes import BY_NAME
from edgecap.mil.features import convert_input, convert_output
from edgecap.mil.mil import Function, Named
from edgecap.mil.ops.state import Cell
from edgecap.mil.package import Package, open_package
from edgecap.mil.schedule import make_schedule


class Program:
    """An opened and checked .mlpackage. Safe to use from several threads.

    A function's constants are decompressed at its first use; functions share them.
    """

    def __init__(self, package: Package) -> None:
        """Check all functions; BundleError (bundle.model) if one cannot be evaluated."""
        for function in package.functions.values():
            check_function(package, function)
        self.package = package
        self._constants = Constants(package)
        self._ready: dict[str, RunnableFunction] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | Path) -> Program:
        """Open a .mlpackage directory; raises BundleError as open_package and `Program` do."""
        return cls(open_package(path))

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of all functions."""
        return tuple(self.package.functions)

    def function(self, name: str | None = None) -> RunnableFunction:
        """One function, the package's default by default; InputError (function.unknown)."""
        name = self.package.default_function if name is None else name
        pick("function", name, self.functions)
        with self._lock:
            if name not in self._ready:
                found = self.package.functions[name]
                self._ready[name] = RunnableFunction(found, self._constants)
            return self._ready[name]


class State:
    """The states of a stateful function, initially zero. Not thread-safe."""

    def __init__(self, named: Mapping[str, Named]) -> None:
        self._named = dict(named)
        self.cells: dict[str, Cell] = {}
        for name, each in named.items():
            shape = [size or 0 for size in each.type.shape]
            self.cells[name] = Cell(np.zeros(shape, BY_NAME[each.type.dtype].computed))

    def read(self, name: str) -> np.ndarray:
        """A copy of one state; InputError (state.unknown)."""
        pick("state", name, self._named)
        return convert_output(self._named[name].type, self.cells[name].array)

    def write(self, name: str, array: np.ndarray) -> None:
        """Set one state; InputError: state.unknown, input.dtype, input.shape."""
        pick("state", name, self._named)
        self.cells[name].array = np.array(convert_input(self._named[name], None, array))

    def serves(self, named: Mapping[str, Named]) -> bool:
        """Whether a function with these states can run on it."""
        return self._named == dict(named)


class RunnableFunction:
    """One function, ready to run. Stateless between runs, so threads may share it."""

    def __init__(self, function: Function, constants: Constants) -> None:
        self.description = function
        self._schedule = make_schedule(function, constants)
        self.inputs = {each.name: each for each in function.inputs if each.type.kind == "tensor"}
        self.states = {each.name: each for each in function.inputs if each.type.kind == "state"}
        self._features = {feature.name: feature for feature in function.input_features}
        types = {each.name: each.type for each in function.inputs}
        for operation in function.block.operations:
            types |= {each.name: each.type for each in operation.outputs}
        self.outputs = {name: types[name] for name in function.block.outputs}

    def make_state(self) -> State:
        """Zeros for every state of the function."""
        return State(self.states)

    def run(
        self, inputs: Mapping[str, np.ndarray], state: State | None = None
    ) -> dict[str, np.ndarray]:
        """Evaluate: arrays by name in, arrays by name out, in the declared dtypes.

        Args:
            inputs: one array per input; see features.convert_input for conversions.
            state: from `make_state`, if the function has states; it is updated in place.

        Raises InputError (input.names, input.dtype, input.shape, input.state), and BundleError
        (bundle.model) where an operation fails.
        """
        if set(inputs) != set(self.inputs):
            raise InputError(
                "input.names",
                f"function {self.description.name!r} takes {', '.join(self.inputs) or 'nothing'}; "
                f"got {', '.join(inputs) or 'nothing'}.",
            )
        if self.states and (state is None or not state.serves(self.states)):
            raise InputError(
                "input.state",
                f"function {self.description.name!r} needs a state with {', '.join(self.states)}.",
                "Make one with make_state().",
            )
        slots = list(self._schedule.slots)
        with np.errstate(all="ignore"):  # fp16 overflows to inf
            for name, named in self.inputs.items():
                array = convert_input(named, self._features.get(name), inputs[name])
                slots[self._schedule.inputs[name]] = array
            for name in self.states:
                slots[self._schedule.inputs[name]] = (
                    state.cells[name] if state is not None else None
                )
            for step in self._schedule.steps:
                step.run(slots)
            return {
                name: convert_output(type_, slots[self._schedule.outputs[name]])
                for name, type_ in self.outputs.items()
            }
