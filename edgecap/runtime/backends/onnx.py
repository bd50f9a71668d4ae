"""Runs ONNX bundles with onnxruntime on the CPU."""

from __future__ import annotations

import platform
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from edgecap.bundle.io import Bundle
from edgecap.core.errors import BundleError, one_line
from edgecap.core.lazy import require
from edgecap.core.packed import PackedFile
from edgecap.inspection.onnx import check_ir_version, weight_files
from edgecap.runtime.backends.buffers import Buffers, Move, Outputs, Pool
from edgecap.runtime.backends.single import (
    Arrays,
    Bound,
    FunctionSession,
    failed,
    needed_at_once,
)

_TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
}


_ADD = "add_external_initializers_from_files_in_memory"


def open_session(bundle: Bundle, threads: int) -> OnnxSession:
    """Open a bundle's graphs; raises MissingPackageError or BundleError."""
    return OnnxSession(bundle, threads)


class OnnxSession(FunctionSession):
    """Thread-safe, as onnxruntime sessions are.

    Functions that captions do not need, such as the text encoder, are loaded at their first use.
    """

    encodes_alone = True

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._engine = require("onnxruntime", "onnx")
        self._bundle, self.threads = bundle, threads
        self._loading = threading.Lock()
        self._single: OnnxSession | None = None
        self._graphs: dict[str, _Graph] = {}
        self.batch = bundle.manifest.batch
        for name in needed_at_once(bundle.manifest.functions):
            self.graph(name)

    def run(self, name: str, inputs: Arrays) -> Arrays:
        return self.graph(name).run(inputs)

    def bind(self, name: str, fixed: Arrays, buffers: Buffers) -> Bound:
        graph = self.graph(name)
        written = graph.memory.take(buffers)
        inputs = {**fixed, **written}
        if not graph.takes_in_place(inputs):
            return Bound(self, name, inputs)
        bound = _InPlace(self, name, inputs, graph)
        weakref.finalize(bound, graph.memory.give_back, written)
        return bound

    def for_threads(self, count: int) -> Sequence[FunctionSession]:
        """One session of one thread for all: calls run on the threads that make them.

        Threads of this session would be shared by all calls, and spin while they wait for work.
        """
        with self._loading:
            if self._single is None:
                self._single = OnnxSession(self._bundle, 1)
        return [self._single] * count

    def graph(self, name: str) -> _Graph:
        """A function, loaded at its first use."""
        with self._loading:
            if name not in self._graphs:
                self._graphs[name] = _Graph(self._engine, self._bundle, name, self.threads)
            return self._graphs[name]


def saturates() -> bool:
    """Whether this processor sums pairs of uint8 x int8 products in 16 bits, which can overflow.

    True for x86 without VNNI. onnxruntime has exact kernels for it, which are 1.5 times as slow and
    so are requested only if needed.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: assume the worst, exact kernels are only slower
        return True


def session_options(engine: Any, threads: int = 1) -> Any:
    """Options with which the graphs of bundles run exactly on this processor, without a word.

    `engine`: the module onnxruntime.
    """
    options = engine.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # errors are raised; nothing is printed
    if saturates():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _model(bundle: Bundle, graph: str, options: Any) -> str | bytes:
    """A graph as the engine takes it: a path, or bytes, whose weights then go into `options`.

    The engine reads those from the mapped archive while it opens the graph. Raises BundleError
    unless a graph's weights are in listed files: old engines read any file.
    """
    file = bundle.content(graph)
    places = weight_files(file)
    weights = [bundle.content(str(PurePosixPath(graph).parent / place)) for place in places]
    if not isinstance(file, PackedFile):
        return str(file)
    if places and not hasattr(options, _ADD):  # an old onnxruntime: weights from files alone
        for place in places:
            bundle.file(str(PurePosixPath(graph).parent / place))
        return str(bundle.file(graph))
    if places:
        views = [one.data() for one in weights if isinstance(one, PackedFile)]
        sizes = [len(view or b"") for view in views]
        getattr(options, _ADD)([str(place) for place in places], views, sizes)
    return file.read_bytes()


class _Graph:
    """One function of the contract."""

    def __init__(self, engine: Any, bundle: Bundle, name: str, threads: int) -> None:
        function = bundle.manifest.functions[name]
        self._file = function.file
        options = session_options(engine, threads)
        file = bundle.content(function.file)
        check_ir_version(file, engine.__version__)
        model = _model(bundle, function.file, options)
        try:
            self._session = engine.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the engine's exception types are private
            raise BundleError(
                "bundle.model", f"onnxruntime rejects {self._file}: {one_line(error)}"
            ) from None
        input_types = {tensor.name: tensor.type for tensor in self._session.get_inputs()}
        output_types = {tensor.name: tensor.type for tensor in self._session.get_outputs()}
        wrong = [n for n in function.inputs.values() if input_types.get(n) not in _TYPES]
        wrong += [n for n in function.outputs.values() if output_types.get(n) not in _TYPES]
        if wrong or len(input_types) != len(function.inputs):
            raise BundleError(
                "bundle.model",
                f"{self._file} lacks {wrong}; it has {sorted(input_types)} {sorted(output_types)}.",
            )
        self._inputs = {key: (n, _TYPES[input_types[n]]) for key, n in function.inputs.items()}
        self._outputs = function.outputs
        self._output_types = {key: _TYPES[output_types[n]] for key, n in function.outputs.items()}
        # An output that is an input: the engine returns it, and writes to no place of ours.
        self._returns_inputs = not input_types.keys().isdisjoint(function.outputs.values())
        self._engine = engine
        self.memory = Pool()  # of the inputs that a host writes
        self._idle: list[_Call] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feed = {}
        for key, value in inputs.items():
            name, kind = self._inputs[key]
            feed[name] = np.ascontiguousarray(value, kind)  # no copy if it fits already
        try:
            values = self._session.run(list(self._outputs.values()), feed)
        except Exception as error:
            raise failed(self._file, error) from None
        return dict(zip(self._outputs, values, strict=True))

    def takes_in_place(self, inputs: Arrays) -> bool:
        """Whether the engine can read these arrays, and write outputs, at fixed places."""
        return not self._returns_inputs and all(
            value.flags.c_contiguous and value.dtype == self._inputs[key][1]
            for key, value in inputs.items()
        )

    def call(self, inputs: Arrays, outputs: Outputs) -> _Call:
        """A call over these arrays where they are, and over new ones for the outputs."""
        places = {
            key: np.empty(shape, self._output_types[key])
            for key, (shape, _) in outputs.tensors.items()
        }
        as_declared = all(places[key].dtype == dtype for key, (_, dtype) in outputs.tensors.items())
        place, binding = self._engine.OrtValue.ortvalue_from_numpy, self._session.io_binding()
        for key, value in inputs.items():
            binding.bind_ortvalue_input(self._inputs[key][0], place(value))
        for key, value in places.items():
            binding.bind_ortvalue_output(self._outputs[key], place(value))
        return _Call(dict(inputs), binding, places, as_declared)

    @contextmanager
    def idle_call(self, inputs: Arrays, outputs: Outputs) -> Iterator[_Call]:
        """A call over copies of the inputs, in memory that later calls use again."""
        try:
            call = self._idle.pop()
            call.write(inputs)
        except IndexError:
            copies = {key: np.array(value, self._inputs[key][1]) for key, value in inputs.items()}
            call = self.call(copies, outputs)
        yield call
        if not self._idle:  # others were made for threads that encode at the same time
            self._idle.append(call)

    def run_call(self, call: _Call, outputs: Outputs) -> Arrays:
        """The outputs as declared, valid until the next run of the same call."""
        try:
            self._session.run_with_iobinding(call.binding)
        except Exception as error:
            raise failed(self._file, error) from None
        return call.outputs if call.as_declared else outputs.checked(call.outputs)


class _Call(NamedTuple):
    """Inputs and outputs of a function at fixed places."""

    inputs: dict[str, np.ndarray]
    binding: Any
    outputs: dict[str, np.ndarray]
    as_declared: bool  # the outputs have the types that the interface declares, not only the shapes

    def write(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self.inputs[name][...] = value


class _InPlace(Bound):
    """Inputs that the engine reads in the host's memory."""

    _session: OnnxSession
    _whole: _InPlace | None = None

    def __init__(self, session: FunctionSession, name: str, inputs: Arrays, graph: _Graph) -> None:
        super().__init__(session, name, inputs)
        self._graph = graph
        self._call: _Call | None = None

    def first(self, count: int, fixed: Arrays) -> Bound:
        inputs = self._of_first(count, fixed)
        if not self._graph.takes_in_place(inputs):
            return super().first(count, fixed)
        smaller = _InPlace(self._session, self._name, inputs, self._graph)
        smaller._whole = self  # whose memory this is
        return smaller

    def step(self, values: Mapping[str, Any], moves: Sequence[Move], outputs: Outputs) -> Arrays:
        if self._call is None:
            self._call = self._graph.call(self._inputs, outputs)
        self._call.write(values)
        made = self._graph.run_call(self._call, outputs)
        self._move(made, moves)
        moved = {move.output for move in moves}
        return {name: value.copy() for name, value in made.items() if name not in moved}

    def fill(self, name: str, inputs: Arrays, moves: Sequence[Move], outputs: Outputs) -> None:
        graph = self._session.graph(name)
        if not graph.takes_in_place(inputs):
            return super().fill(name, inputs, moves, outputs)
        with graph.idle_call(inputs, outputs) as call:
            self._move(graph.run_call(call, outputs), moves)
