"""Functions of contract 2 as ONNX: one graph per function, and one file of weights they share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecap.bundle.interface import DECODE, Interface
from edgecap.bundle.schema2 import Function
from edgecap.core.lazy import require
from edgecap.exporters.examples import example_inputs
from edgecap.exporters.onnx import passes
from edgecap.exporters.onnx.convert import OPSET, WEIGHTS
from edgecap.models.adapter import GraphFunction

BATCH: int | None = None


def export(
    functions: Sequence[GraphFunction], interface: Interface, directory: Path, precision: str
) -> dict[str, Function]:
    """Write `functions` as ONNX into `directory`; returns where each lies.

    `precision`: fp32, or fp16 (weights stored as float16).
    """
    require("onnxscript", "export")
    graphs = {function.name: _trace(function, interface) for function in functions}
    if precision == "fp16":
        for graph in graphs.values():
            passes.halve(graph)
    passes.share_weights(list(graphs.values()), directory / WEIGHTS)
    for name, graph in graphs.items():
        (directory / f"{name}.onnx").write_bytes(graph.SerializeToString())
    return {
        f.name: Function(
            f"{f.name}.onnx", f.name, {n: n for n in f.inputs}, {n: n for n in f.outputs}
        )
        for f in functions
    }


def _trace(function: GraphFunction, interface: Interface) -> Any:
    import torch

    batch = {0: torch.export.Dim("B", min=1, max=1024)}
    axes: list[Any] = [batch] * len(function.inputs)
    state = len(interface.state)
    if state and function.name == DECODE:  # `*state` counts as one argument
        axes = [*axes[:-state], (batch,) * state]
    # The tracer takes a size of 1 for a constant, so it sees two of everything.
    inputs = tuple(example_inputs(function, interface, 2).values())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own code uses what torch deprecates
        program = torch.onnx.export(
            function.module,
            inputs,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(function.inputs),
            output_names=list(function.outputs),
            dynamic_shapes=tuple(axes),
        )
    assert program is not None  # only without dynamo
    model = program.model_proto
    passes.clean(model)
    return model
