"""One function of a written artifact as a call that can be timed: one thread, fixed inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.bundle.manifest import Function
from edgecap.core.lazy import require

Step = Callable[[], Any]
# Format -> engine. CoreML is not timed: the evaluator's speed is not a device's.
TIMED = {"onnx": "onnxruntime", "tflite": "LiteRT"}


def step(format_: str, path: Path, function: Function, inputs: Mapping[str, np.ndarray]) -> Step:
    """A call of `function` in the file `path`, of a format in TIMED.

    `inputs` by the contract's names.
    """
    feeds = {function.inputs[name]: value for name, value in inputs.items()}
    if format_ == "onnx":
        return _onnx(path, feeds)
    return _tflite(path, function.entry, feeds)


def _onnx(path: Path, feeds: Mapping[str, np.ndarray]) -> Step:
    engine = require("onnxruntime", "onnx")
    options = engine.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = engine.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def _tflite(path: Path, entry: str, feeds: Mapping[str, np.ndarray]) -> Step:
    from edgecap.runtime.backends.tflite import interpreter_class

    _, make = interpreter_class()
    interpreter = make(model_path=str(path), num_threads=1)
    runner = interpreter.get_signature_runner(entry)
    return lambda: runner(**feeds) if interpreter else None  # which owns the runner's memory


def seconds(call: Step, clock: Callable[[], float]) -> float:
    """How long one call takes, by `clock`."""
    begun = clock()
    call()
    return clock() - begun
