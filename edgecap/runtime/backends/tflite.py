"""Runs TFLite bundles with the first interpreter that is installed.

ai-edge-litert is maintained, tflite-runtime is for old boards, tensorflow includes one as well.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.bundle.io import Bundle
from edgecap.core.errors import BundleError, MissingPackageError, one_line
from edgecap.core.packed import AnyFile, PackedFile
from edgecap.inspection.tflite_check import check_tflite
from edgecap.runtime.backends.buffers import Buffers, Move, Outputs
from edgecap.runtime.backends.pages import let_go
from edgecap.runtime.backends.single import Arrays, Bound, FunctionSession, failed

# (package, module, the interpreter's name in it), in order of preference.
INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter", "Interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter", "Interpreter"),
    ("tensorflow", "tensorflow", "lite.Interpreter"),  # the module tensorflow.lite is another thing
)


def interpreter_class() -> tuple[str, Any]:
    """(package, Interpreter) of the first that is installed.

    Raises MissingPackageError if none is installed, or if the first cannot be imported.
    """
    for package, module, name in INTERPRETERS:
        try:
            return package, attrgetter(name)(import_module(module))
        except Exception as error:  # native code built for another numpy may raise anything
            if isinstance(error, ModuleNotFoundError) and _is_absent(package, error):
                continue
            raise MissingPackageError(
                "package.broken",
                f"{package} is installed but does not work: {one_line(error)}",
                "Run: edgecap doctor",
            ) from error
    names = ", ".join(package for package, *_ in INTERPRETERS)
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
        self._bundle, self.threads = bundle, threads
        self._lock = threading.Lock()
        self._per_thread: list[FunctionSession] = []
        self._runners: dict[str, _Runner] = {}
        interpreters: dict[str, Any] = {}
        for name, function in bundle.manifest.functions.items():
            file = bundle.content(function.file)
            if function.file not in interpreters:
                check_tflite(file)  # a native interpreter trusts every offset of a file
            try:
                if function.file not in interpreters:
                    interpreters[function.file] = _interpreter(make, file, threads)
                runner = interpreters[function.file].get_signature_runner(function.entry)
            except Exception as error:  # the interpreters raise ValueError, RuntimeError and others
                raise BundleError(
                    "bundle.model", f"{self._package} rejects {function.file}: {one_line(error)}"
                ) from None
            self._runners[name] = _Runner(runner, function.inputs, function.outputs, file)

    def run(self, name: str, inputs: Arrays) -> Arrays:
        with self._lock:
            return self._runners[name].run(inputs)

    def bind(self, name: str, fixed: Arrays, buffers: Buffers) -> Bound:
        return _Resident(self, name, fixed, buffers, self._runners, self._lock)

    def for_threads(self, count: int) -> Sequence[FunctionSession]:
        """Interpreters of one thread each, kept: one alone takes its calls in turn."""
        with self._lock:
            while len(self._per_thread) < count:
                self._per_thread.append(TfliteSession(self._bundle, 1))
            return self._per_thread[:count]


def _interpreter(make: Any, file: AnyFile, threads: int) -> Any:
    if isinstance(file, PackedFile):  # interpreters take bytes of Python's, and no other memory
        return make(model_content=file.read_bytes(), num_threads=threads)
    return make(model_path=str(file), num_threads=threads)


class _Runner:
    """One signature, by the names of the manifest.

    Calls the wrapper below the interpreter's signature runner, which resizes and allocates all
    tensors in each call.
    """

    def __init__(
        self, runner: Any, inputs: Mapping[str, str], outputs: Mapping[str, str], file: AnyFile
    ) -> None:
        details = runner.get_input_details()
        results = runner.get_output_details()
        wrong = [n for n in inputs.values() if n not in details]
        wrong += [n for n in outputs.values() if n not in results]
        if wrong or len(details) != len(inputs):
            raise BundleError(
                "bundle.model",
                f"{file.name} lacks {wrong}; it has {sorted(details)} {sorted(results)}.",
            )
        self._file, self._path = file.name, file
        self._interpreter = runner._interpreter
        self._engine, self._graph = runner._interpreter_wrapper, runner._subgraph_index
        self._types = {name: details[target]["dtype"] for name, target in inputs.items()}
        self._inputs = {name: details[target]["index"] for name, target in inputs.items()}
        self._outputs = {name: results[target]["index"] for name, target in outputs.items()}
        self._allocated = False
        self._tensors: dict[str, np.ndarray] | None = None
        self._owner: Callable[[], _Resident | None] = lambda: None

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Copy all inputs to the tensors and call the signature; copies of the outputs."""
        self._fill(inputs)
        return self.invoke()

    def views(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """As `run`; the outputs lie in the engine's memory and are valid until its next call."""
        self._fill(inputs)
        return self._invoke(partial(self._engine.tensor, self._interpreter))

    def invoke(self) -> dict[str, np.ndarray]:
        """Call the signature with what its tensors hold; copies of the outputs."""
        return self._invoke(self._engine.GetTensor)

    def _fill(self, inputs: Arrays) -> None:
        self.hand_to(None)
        self._allocate()
        try:
            for name, value in inputs.items():
                array = np.ascontiguousarray(value, self._types[name])
                self._engine.SetTensor(self._inputs[name], array, self._graph)
        except Exception as error:  # as above
            raise failed(self._file, error) from None

    def _invoke(self, read: Callable[[int, int], np.ndarray]) -> dict[str, np.ndarray]:
        try:
            self._engine.Invoke(self._graph)
            return {name: read(index, self._graph) for name, index in self._outputs.items()}
        except Exception as error:  # as above
            raise failed(self._file, error) from None

    def hand_to(self, owner: _Resident | None) -> None:
        """Let the tensors be those of `owner`; who had them keeps a copy, if it is still in use."""
        before = self._owner()
        if before is owner:
            return
        if before is not None:
            before.leave(self.tensors())
        self._owner = lambda: None
        if owner is not None:
            owner.enter(self.tensors())
            self._owner = weakref.ref(owner)

    def tensors(self) -> dict[str, np.ndarray]:
        """The memory of the inputs, which the engine does not write to, nor move."""
        if self._tensors is None:
            self._allocate()
            self._tensors = {
                name: self._engine.tensor(self._interpreter, index, self._graph)
                for name, index in self._inputs.items()
            }
        return self._tensors

    def unlike(self, name: str, found: tuple[int, ...], asked: tuple[int, ...]) -> BundleError:
        """What is raised where a tensor has another shape than the manifest says."""
        return BundleError(
            "bundle.model",
            f"{self._file} takes {name} {list(found)}; the interface declares {list(asked)}.",
        )

    def _allocate(self) -> None:
        """At the first call, so that functions which are not used take no memory."""
        if self._allocated:
            return
        try:
            self._engine.AllocateTensors(self._graph)
        except Exception as error:  # as above
            raise failed(self._file, error) from None
        if isinstance(self._path, Path):
            let_go(self._path)  # XNNPACK has packed the weights of all signatures
        self._allocated = True


class _Resident(Bound):
    """Inputs in the interpreter's tensors, which the host writes in place.

    Where several states of one signature are decoded in turns, each has a copy of its buffers in
    the host, which takes the tensors over before it runs.
    """

    def __init__(
        self,
        session: TfliteSession,
        name: str,
        fixed: Arrays,
        buffers: Buffers,
        runners: Mapping[str, _Runner],
        lock: threading.Lock,
    ) -> None:
        super().__init__(session, name, fixed)
        self._shapes = {name: value.shape for name, value in fixed.items()}
        self._shapes |= {name: buffer.shape for name, buffer in buffers.items()}
        self._buffers, self._runners, self._lock = buffers, runners, lock
        self._runner = runners[name]
        self._tensors: Arrays | None = None  # the interpreter's, while it holds these inputs
        with lock:
            self._runner.hand_to(self)

    def step(self, values: Mapping[str, Any], moves: Sequence[Move], outputs: Outputs) -> Arrays:
        with self._lock:
            self._runner.hand_to(self)
            for name, value in values.items():
                self._put(name, value)
            made = outputs.checked(self._runner.invoke())
            self._move(made, moves)
            return made

    def fill(self, name: str, inputs: Arrays, moves: Sequence[Move], outputs: Outputs) -> None:
        with self._lock:
            self._runner.hand_to(self)
            self._move(outputs.checked(self._runners[name].views(inputs)), moves)

    def write(self, name: str, value: Any, place: Any = ...) -> None:
        with self._lock:
            self._put(name, value, place)

    def _put(self, name: str, value: Any, place: Any = ...) -> None:
        if self._tensors is not None:
            self._tensors[name][place] = value
        if name in self._inputs:
            self._inputs[name][place] = value

    def read(self, name: str, place: Any = ...) -> np.ndarray:
        with self._lock:
            arrays = self._inputs if self._tensors is None else self._tensors
            return arrays[name][place].copy()

    def enter(self, tensors: Arrays) -> None:
        """Take the tensors over. Raises BundleError where they have other shapes."""
        for name, shape in self._shapes.items():
            if tensors[name].shape != shape:
                raise self._runner.unlike(name, tensors[name].shape, shape)
        for name, value in self._inputs.items():
            tensors[name][...] = value
        self._tensors = tensors

    def leave(self, tensors: Arrays) -> None:
        """Give the tensors up; copy what the host has not."""
        for name in self._buffers:
            if name not in self._inputs:
                self._inputs[name] = tensors[name].copy()
        self._tensors = None
