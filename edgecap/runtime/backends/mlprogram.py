"""Runs CoreML bundles with the evaluator of edgecap.mil."""

from __future__ import annotations

from edgecap.bundle.io import Bundle
from edgecap.bundle.manifest import Function
from edgecap.core.errors import BundleError, InputError
from edgecap.mil.program import Program
from edgecap.runtime.backends.single import Arrays, FunctionSession, needed_at_once


def open_session(bundle: Bundle, threads: int) -> ProgramSession:
    """Open a bundle's .mlpackage; raises BundleError.

    `threads` is ignored: NumPy's BLAS sets it when NumPy is loaded (OMP_NUM_THREADS).
    """
    return ProgramSession(bundle)


class ProgramSession(FunctionSession):
    """Functions of one or several .mlpackage directories.

    The evaluator is stateless between calls, so threads may share a session. All functions are
    checked on opening; the text encoder, which captions do not need, is prepared at its first use.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._functions: dict[str, _ContractFunction] = {}
        programs: dict[str, Program] = {}
        for name, function in bundle.manifest.functions.items():
            if function.file not in programs:
                programs[function.file] = Program.open(bundle.file(function.file))
            self._functions[name] = _ContractFunction(programs[function.file], function)
        for name in needed_at_once(bundle.manifest.functions):
            self._functions[name].prepare()

    def run(self, name: str, inputs: Arrays) -> Arrays:
        return self._functions[name].run(inputs)


class _ContractFunction:
    """One function, by the names of the contract."""

    def __init__(self, program: Program, function: Function) -> None:
        self._program, self._function = program, function
        if function.entry not in program.functions:
            raise BundleError(
                "bundle.model",
                f"{function.file} has no function {function.entry!r}; "
                f"it has {', '.join(program.functions)}.",
            )
        found = program.package.functions[function.entry]
        inputs = {each.name for each in found.inputs if each.type.kind == "tensor"}
        outputs = set(found.block.outputs)
        wrong = [name for name in function.inputs.values() if name not in inputs]
        wrong += [name for name in function.outputs.values() if name not in outputs]
        if wrong or len(inputs) != len(function.inputs):
            raise BundleError(
                "bundle.model",
                f"{function.entry} of {function.file} lacks {wrong}; "
                f"it has {sorted(inputs)} {sorted(outputs)}.",
            )

    def prepare(self) -> None:
        """Decompress the constants, unless already done."""
        self._program.function(self._function.entry)

    def run(self, inputs: Arrays) -> Arrays:
        names = self._function.inputs
        runnable = self._program.function(self._function.entry)
        try:
            out = runnable.run({names[name]: value for name, value in inputs.items()})
        except InputError as error:  # the tensors of the contract and of the file differ
            raise BundleError("bundle.model", f"{self._function.file}: {error.message}") from None
        return {name: out[target] for name, target in self._function.outputs.items()}
