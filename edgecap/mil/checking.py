"""Validation of a function before it runs: unsupported programs are refused here."""

from __future__ import annotations

import math

from edgecap.core.errors import BundleError
from edgecap.mil.dtypes import BY_NAME
from edgecap.mil.mil import Function, Named, Operation, Value, ValueType
from edgecap.mil.ops import KERNELS
from edgecap.mil.ops.limits import MAX_COMPUTED
from edgecap.mil.package import Package


def check_function(package: Package, function: Function) -> None:
    """Raise BundleError, naming function and operation, if the evaluator cannot run a function.

    Checked: every operation and each of its inputs is known; each name is defined once and before
    its use; constants are readable; sizes are within limits.
    """
    defined: set[str] = set()
    strings: set[str] = set()  # constants that select a mode; operations compute none
    for named in function.inputs:
        where = f"input {named.name!r}"
        _refuse_string(function, where, named)
        _define(function, where, named, defined)
    for operation in function.block.operations:
        where = f"{operation.type} at {operation.place!r}"
        _check_operation(package, function, operation, where, defined)
        for named in operation.outputs:
            if operation.type != "const":
                _refuse_string(function, where, named)
            elif named.type.dtype == "string":
                strings.add(named.name)
            _define(function, where, named, defined)
    for name in function.block.outputs:
        if name not in defined - strings:
            raise refusal(function, f"output {name!r}", "no operation computes it")


def refusal(function: Function, where: str, what: str) -> BundleError:
    """The error for one place (`where`) in a program."""
    return BundleError("bundle.model", f"{where} of function {function.name!r}: {what}.")


def _check_operation(
    package: Package, function: Function, operation: Operation, where: str, defined: set[str]
) -> None:
    if operation.type == "const":
        if "val" not in operation.attributes or len(operation.outputs) != 1:
            raise refusal(function, where, "it has no value")
        package.check(operation.attributes["val"])
        return
    kernel = KERNELS.get(operation.type)
    if kernel is None:
        raise refusal(
            function, where, f"the evaluator does not support the operation {operation.type}"
        )
    given = {name for name, bound in operation.arguments.items() if bound}
    if unknown := sorted(given - kernel.known):
        raise refusal(function, where, f"the evaluator does not support its input {unknown[0]!r}")
    if missing := sorted(kernel.required - given):
        raise refusal(function, where, f"its input {missing[0]!r} is missing")
    for bound in operation.arguments.values():
        for each in bound:
            if isinstance(each, Value):
                package.check(each)
            elif each not in defined:
                raise refusal(function, where, f"no earlier operation computes {each!r}")


def _refuse_string(function: Function, where: str, named: Named) -> None:
    if named.type.dtype == "string":
        raise refusal(function, where, f"{named.name!r} is a string; only constants may be strings")


def _define(function: Function, where: str, named: Named, defined: set[str]) -> None:
    if named.name in defined:
        raise refusal(function, where, f"{named.name!r} is defined twice")
    if not _is_supported(named.type):
        raise refusal(function, where, f"a value {named.type} is not supported")
    defined.add(named.name)


def _is_supported(type_: ValueType) -> bool:
    if type_.dtype == "string":
        return type_.kind == "tensor"
    known = type_.kind in ("tensor", "state") and type_.dtype in BY_NAME
    return known and math.prod(size or 1 for size in type_.shape) <= MAX_COMPUTED
