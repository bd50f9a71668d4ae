"""A family's functions in each format as users get them, run by the format's engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from host_loop import Run

from edgecap.bundle.manifest import Function
from edgecap.exporters.coreml import functions as coreml
from edgecap.exporters.onnx import convert
from edgecap.exporters.onnx import functions as onnx
from edgecap.exporters.quiet import quiet
from edgecap.exporters.rounded import uncalibrated
from edgecap.exporters.tflite import functions as tflite
from edgecap.quant.plan import Plan
from edgecap.runtime.backends.onnx import session_options


@dataclass(frozen=True)
class Graphs:
    """An adapter's traced functions and the plan of their int8."""

    traced: convert.Traced
    plan: Plan

    @classmethod
    def of(cls, adapter: Any) -> Graphs:
        rounded = uncalibrated(adapter)
        with quiet():
            return cls(onnx.traced(adapter, rounded), rounded.plan)

    def write(self, directory: Path, precision: str) -> dict[str, Function]:
        return convert.write(self.traced, precision, directory, self.plan)


def onnx_run(directory: Path) -> Run:
    """With onnxruntime, for a batch of any size."""

    @cache
    def session(name: str) -> Any:
        file, options = directory / f"{name}.onnx", session_options(onnxruntime)
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [output.name for output in session(name).get_outputs()]
        return dict(zip(names, session(name).run(names, dict(inputs)), strict=True))

    return run


def tflite_run(adapter: Any, directory: Path) -> Run:
    """Export float32; with LiteRT, batch 1."""
    with quiet():
        places = tflite.export(adapter, directory, "fp32")
        from ai_edge_litert.interpreter import Interpreter

        (file,) = {place.file for place in places.values()}
        interpreter = Interpreter(str(directory / file), num_threads=1)

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        place = places[name]
        given = {place.inputs[key]: value for key, value in inputs.items()}
        made = interpreter.get_signature_runner(place.entry)(**given)
        return {key: made[its] for key, its in place.outputs.items()}

    return run


def coreml_run(adapter: Any, directory: Path) -> Run:
    """Export float32; with edgecap's evaluator, batch 1."""
    from edgecap.mil.program import Program

    with quiet():
        places = coreml.export(adapter, directory, "fp32")

    @cache
    def function(name: str) -> Any:
        return Program.open(directory / places[name].file).function(places[name].entry)

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {places[name].inputs[key]: value for key, value in inputs.items()}
        if "image" in inputs:  # planes of 0 … 255
            given["image"] = inputs["image"].transpose(0, 3, 1, 2).astype(np.float32)
        made = function(name).run(given)
        return {key: made[its] for key, its in places[name].outputs.items()}

    return run
