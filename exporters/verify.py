"""Every converted function against PyTorch, right after its conversion.

Converters lie: litert-torch 0.10 turns attention with one key/value head into something else and
reports nothing. So each function is run on random values of all its inputs, state too, before any
pass touches its weights; what differs beyond float32 sums stops the export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgecap.core.errors import GateError
from edgecap.core.lazy import require
from edgecap.core.scratch import scratch_dir
from edgecap.exporters.contract import Function
from edgecap.runtime.backends.onnx import session_options

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
# The largest difference, of an output's spread (its standard deviation). Sums in another order cost
# 1e-5; a wrong graph is off by 1 on average. Float16 and int8 grids, which CoreML's converter is
# given at once, cost what they cost: with grids, one value that rounds the other way costs 0.5.
BOUND = {"onnx": 1e-3, "tflite": 1e-3, "coreml": 1e-3, "coreml half": 0.1, "coreml static": 1.0}
MEAN = 0.2  # of the largest difference: what the average may be


def verify_converted(function: Function, run: Run, format_: str, seed: int = 0) -> None:
    """Raise GateError unless `run` answers as PyTorch does, for every output."""
    inputs = function.random_inputs(seed)
    expected, got = function.eager(inputs), run(inputs)
    for name, value in expected.items():
        answer = got[name]
        if answer.shape != value.shape:
            raise _wrong(function, name, format_, f"of shape {answer.shape}, not {value.shape}")
        off = np.abs(answer.astype(np.float64) - value)
        off = np.where(np.isfinite(answer), off, np.inf)
        bound = BOUND[format_] * max(float(value.std()), 1e-6)
        worst = np.unravel_index(int(off.argmax()), off.shape)
        if not (off[worst] <= bound and off.mean() <= MEAN * bound):
            place = list(map(int, worst))
            raise _wrong(
                function,
                name,
                format_,
                f"{answer[worst]:.6g} at {place} where PyTorch gives {value[worst]:.6g}; "
                f"allowed is a difference of {bound:.2g}, and of {MEAN * bound:.2g} on average",
            )


def onnx_runner(file: Path, function: Function) -> Run:
    """Run a graph in onnxruntime."""
    onnxruntime = require("onnxruntime", "export")
    options = session_options(onnxruntime)
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    kept = {put.name for put in session.get_inputs()}

    def run(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        feeds = {name: value for name, value in inputs.items() if name in kept}
        return dict(zip(function.outputs, session.run(None, feeds), strict=True))

    return run


def tflite_runner(data: bytes, function: Function) -> Run:
    """Run one signature of a float32 file."""
    require("ai_edge_litert", "export")
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data, num_threads=1).get_signature_runner(function.name)
    return lambda inputs: runner(**inputs)


def coreml_runner(program: Any, function: Function) -> Run:
    """Run one ML program in edgecap's evaluator."""
    from edgecap.mil.program import Program

    def run(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        feeds = dict(inputs)
        if "image" in feeds:  # planes of 0 … 255
            feeds["image"] = feeds["image"].transpose(0, 3, 1, 2).astype(np.float32)  # [B,3,h,w]
        with scratch_dir("edgecap-convert-") as scratch:
            path = scratch / "main.mlpackage"
            program.save(str(path))
            main = Program.open(path).function("main")
            state = main.make_state() if main.states else None
            return main.run(feeds, state)

    return run


def _wrong(function: Function, output: str, format_: str, what: str) -> GateError:
    return GateError(
        "export.conversion",
        f"the {format_} converter changed what {function.name} computes: {output} is {what}.",
        "Nothing was saved. This is a fault of the converter or of the adapter: export another "
        "format, and report the model's type.",
    )
