"""Times of single operations from LiteRT, whose Python interface has no profiler: its C interface.

No header ships with the library, and its interface has no version; what is used is checked by its
status codes, in a process of its own.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_uint, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.benchmarks.c_core import engine_library
from edgecap.core.errors import UnsupportedError

# A row of LiteRT's table in run order: name, start, first, average ms, %, sum %, kB, calls.
_ROW = re.compile(r"^\s*(\S.*?)\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+[\d.]+%\s+[\d.]+%\s+\S+\s+(\d+)\s")
_FIRST, _LAST = "Run Order", "Top by"
_TYPES = {1: np.float32, 2: np.int32, 3: np.uint8, 9: np.int8, 10: np.float16}
_LOG_LEVEL, _ACCELERATORS, _WARNINGS, _CPU = 25, 24, 3, 1
_ALIGNMENT = 64


class _Option(ctypes.Structure):
    _fields_ = [("tag", c_int64), ("type", c_int64), ("value", c_int64)]


class _Ranked(ctypes.Structure):
    """The type of a tensor."""

    _fields_ = [("element", c_int32), ("rank", c_uint, 7), ("strided", c_uint, 1),
                ("dimensions", c_int32 * 8), ("strides", c_uint32 * 8)]  # fmt: skip


class _Library:
    """Calls by name; a status other than 0 is an UnsupportedError."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def __call__(self, name: str, *arguments: Any) -> None:
        function = getattr(self._library, f"LiteRt{name}", None)
        if function is None or function(*arguments) != 0:
            raise UnsupportedError(
                "bench.profile", f"this LiteRT cannot profile: {name} is missing or failed."
            )

    def handle(self, name: str, *arguments: Any) -> c_void_p:
        """The handle that a call makes or finds, its last argument."""
        made = c_void_p()
        self(name, *arguments, byref(made))
        return made


def timings(model: Path, entry: str, runs: int, threads: int) -> Iterator[tuple[str, float]]:
    """(operation, ms) of every operation in every run of one signature."""
    call = _Library(engine_library("tflite"))
    settings = (_Option * 2)(_Option(_LOG_LEVEL, 2, _WARNINGS), _Option(_ACCELERATORS, 2, _CPU))
    environment = call.handle("CreateEnvironment", 2, settings)
    opened = call.handle("CreateModelFromFile", environment, str(model).encode())
    options = call.handle("CreateOptions")
    call("SetOptionsHardwareAccelerators", options, _CPU)
    _add(call, options, "xnnpack", f"num_threads = {threads}\n")
    _add(call, options, "runtime_options_string", "enable_profiling = true\n")
    compiled = call.handle("CreateCompiledModel", environment, opened, options)
    profiler = call.handle("CompiledModelGetProfiler", compiled)
    index, signature = _signature(call, opened, entry)
    kept: list[np.ndarray] = []
    inputs, outputs = (_buffers(call, signature, kind, kept) for kind in ("Input", "Output"))

    def run() -> None:
        call(
            "RunCompiledModel", compiled, c_size_t(index),
            c_size_t(len(inputs)), inputs, c_size_t(len(outputs)), outputs,
        )  # fmt: skip

    run()  # allocates
    call("ResetProfiler", profiler)
    call("StartProfiler", profiler)
    for _ in range(runs):
        run()
    call("StopProfiler", profiler)
    summary = c_char_p()
    call("GetProfileSummary", profiler, compiled, byref(summary))
    yield from read_summary((summary.value or b"").decode(errors="replace"))


def read_summary(text: str) -> Iterator[tuple[str, float]]:
    """The operations of LiteRT's table in run order, each as often as it was called."""
    inside = False
    for line in text.splitlines():
        if _FIRST in line:
            inside = True
        elif _LAST in line:
            return
        elif inside and (found := _ROW.match(line)):
            name = found[1].removeprefix("Delegate/")
            for _ in range(int(found[3])):
                yield name, float(found[2])


def _add(call: _Library, options: c_void_p, name: str, payload: str) -> None:
    """Options as text; the library frees its copy."""
    libc = ctypes.CDLL(None)
    libc.strdup.restype = c_void_p
    copy, release = c_void_p(libc.strdup(payload.encode())), ctypes.cast(libc.free, c_void_p)
    call(
        "AddOpaqueOptions",
        options,
        call.handle("CreateOpaqueOptions", name.encode(), copy, release),
    )


def _signature(call: _Library, opened: c_void_p, entry: str) -> tuple[int, c_void_p]:
    count, key = c_size_t(), c_char_p()
    call("GetNumModelSignatures", opened, byref(count))
    for index in range(count.value):
        signature = call.handle("GetModelSignature", opened, c_size_t(index))
        call("GetSignatureKey", signature, byref(key))
        if key.value == entry.encode():
            return index, signature
    raise UnsupportedError("bench.profile", f"the model has no signature {entry!r}.")


def _buffers(call: _Library, signature: c_void_p, kind: str, kept: list[np.ndarray]) -> Any:
    """Zeros for every tensor, at the multiples of 64 that LiteRT takes without a copy."""
    count = c_size_t()
    call(f"GetNumSignature{kind}s", signature, byref(count))
    handles = []
    for index in range(count.value):
        tensor = call.handle(f"GetSignature{kind}TensorByIndex", signature, c_size_t(index))
        ranked = _Ranked()
        call("GetRankedTensorType", tensor, byref(ranked))
        shape = [ranked.dimensions[axis] for axis in range(ranked.rank)]
        size = int(np.prod(shape)) * np.dtype(_TYPES[ranked.element]).itemsize
        memory = np.zeros(size + 2 * _ALIGNMENT, np.uint8)
        kept.append(memory)
        place = memory.ctypes.data + -memory.ctypes.data % _ALIGNMENT
        arguments = (byref(ranked), c_void_p(place), c_size_t(size), None)
        handles.append(call.handle("CreateTensorBufferFromHostMemory", *arguments).value)
    return (c_void_p * len(handles))(*handles)
