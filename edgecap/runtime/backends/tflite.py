"""Runs TFLite bundles with the first interpreter that is installed.

ai-edge-litert is maintained, tflite-runtime is for old boards, tensorflow includes one as well.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from edgecap.bundle.io import Bundle
from edgecap.core.errors import BundleError, MissingPackageError, one_line
from edgecap.inspection.tflite_check import check_tflite
from edgecap.runtime.backends.single import Arrays, FunctionSession, failed

# (package, module that holds Interpreter), in order of preference.
INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite"),
)


def interpreter_class() -> tuple[str, Any]:
    """(package, Interpreter) of the first that is installed.

    Raises MissingPackageError if none is installed, or if the first cannot be imported.
    """
    for package, module in INTERPRETERS:
        try:
            return package, import_module(module).Interpreter
        except Exception as error:  # native code built for another numpy may raise anything
            if isinstance(error, ModuleNotFoundError) and _is_absent(package, error):
                continue
            raise MissingPackageError(
                "package.broken",
                f"{package} is installed but does not work: {one_line(error)}",
                "Run: edgecap doctor",
            ) from error
    names = ", ".join(package for package, _ in INTERPRETERS)
    raise MissingPackageError(
        "package.missing",
        f"no TFLite interpreter is installed (looked for {names}).",
        "Run: pip install 'edgecap[tflite]'",
    )


def _is_absent(package: str, error: ModuleNotFoundError) -> bool:
    """Whether the package itself is missing, not one of its dependencies."""
    return error.name is not None and error.name.split(".")[0] == package


def open_session(bundle: Bundle, threads: int) -> TfliteSession:
    """Open a bundle's signatures; raises MissingPackageError or BundleError."""
    return TfliteSession(bundle, threads)


class TfliteSession(FunctionSession):
    """Signatures of one or several .tflite files.

    An interpreter owns the memory of its tensors, so calls are serialised by a lock.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._package, make = interpreter_class()
        self._lock = threading.Lock()
        self._runners: dict[str, _Runner] = {}
        interpreters: dict[str, Any] = {}
        for name, function in bundle.manifest.functions.items():
            path = bundle.file(function.file)
            if function.file not in interpreters:
                check_tflite(path)  # a native interpreter trusts every offset of a file
            try:
                if function.file not in interpreters:
                    interpreters[function.file] = make(model_path=str(path), num_threads=threads)
                runner = interpreters[function.file].get_signature_runner(function.entry)
            except Exception as error:  # the interpreters raise ValueError, RuntimeError and others
                raise BundleError(
                    "bundle.model", f"{self._package} rejects {function.file}: {one_line(error)}"
                ) from None
            self._runners[name] = _Runner(runner, function.inputs, function.outputs, function.file)

    def run(self, name: str, inputs: Arrays) -> Arrays:
        with self._lock:
            return self._runners[name].run(inputs)


class _Runner:
    """One signature, by the names of the contract."""

    def __init__(
        self, runner: Any, inputs: Mapping[str, str], outputs: Mapping[str, str], file: str
    ) -> None:
        self._runner, self._inputs, self._outputs, self._file = runner, inputs, outputs, file
        details = runner.get_input_details()
        there = runner.get_output_details()
        wrong = [n for n in inputs.values() if n not in details]
        wrong += [n for n in outputs.values() if n not in there]
        if wrong or len(details) != len(inputs):
            raise BundleError(
                "bundle.model", f"{file} lacks {wrong}; it has {sorted(details)} {sorted(there)}."
            )
        self._types = {name: details[target]["dtype"] for name, target in inputs.items()}

    def run(self, inputs: Arrays) -> Arrays:
        feed = {
            self._inputs[name]: np.ascontiguousarray(value, self._types[name])
            for name, value in inputs.items()
        }
        try:
            values = self._runner(**feed)
        except Exception as error:  # as above
            raise failed(self._file, error) from None
        return {name: values[target] for name, target in self._outputs.items()}
