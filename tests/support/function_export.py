"""The shortest way from a graph function to onnxruntime, with a batch of any size."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from host_loop import Run, random_inputs

from edgecap.bundle.interface import Interface
from edgecap.models.adapter import GraphFunction


def export(function: GraphFunction, interface: Interface, directory: Path) -> Path:
    """Write `function` as ONNX into `directory`."""
    # The tracer takes a size of 1 for a constant, so it sees two.
    inputs = random_inputs(interface, function.name, 2)
    file = directory / f"{function.name}.onnx"
    batch = {0: torch.export.Dim("B", min=1, max=1024)}
    named, state = [batch] * len(inputs), len(interface.state)
    if state and function.name == "decode":  # `*state` counts as one argument
        named = [*named[:-state], (batch,) * state]
    # torch's own code uses what torch deprecates.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            function.module,
            tuple(torch.from_numpy(value) for value in inputs.values()),
            dynamo=True,
            verbose=False,
            opset_version=20,
            input_names=list(function.inputs),
            output_names=list(function.outputs),
            dynamic_shapes=tuple(named),
        )
    assert program is not None
    program.save(file)
    return file


def runner(files: Mapping[str, Path]) -> Run:
    """Run exported functions with onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    sessions = {
        name: onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        for name, file in files.items()
    }

    def run(name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        session: Any = sessions[name]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, dict(inputs)), strict=True))

    return run
