"""ONNX: one graph per function, and one file of weights that all three share.

The batch axis is dynamic. `fp16` halves the stored weights, `w8` quarters them with standard
operators (DynamicQuantizeLinear, MatMulInteger), which every ONNX runtime has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecap.core.lazy import require
from edgecap.exporters import onnx_passes
from edgecap.exporters.contract import Function, functions

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgecap.model.captioner import Captioner

OPSET = 20  # the first with Gelu
WEIGHTS = "weights.bin"


def convert(model: Captioner) -> dict[str, ModelProto]:
    """The three functions as float32 ONNX models, by name."""
    require("onnxscript", "export")
    return {function.name: _trace(function) for function in functions(model)}


def write(graphs: dict[str, ModelProto], precision: str, directory: Path) -> dict[str, str]:
    """Bring `graphs` to `precision` and write them; returns function -> file name.

    The graphs are changed in place.
    """
    for graph in graphs.values():
        if precision == "fp16":
            onnx_passes.halve(graph)
        elif precision == "w8":
            onnx_passes.quantise(graph)
    onnx_passes.share_weights(list(graphs.values()), directory / WEIGHTS)
    files = {name: f"{name}.onnx" for name in graphs}
    for name, graph in graphs.items():
        (directory / files[name]).write_bytes(graph.SerializeToString())
    return files


def export(model: Captioner, precision: str, directory: Path) -> dict[str, str]:
    """Write `model` as ONNX into `directory`; returns function -> file name."""
    return write(convert(model), precision, directory)


def _trace(function: Function) -> ModelProto:
    import torch

    batch = torch.export.Dim("B", min=1, max=1024)
    # The tracer takes a size of 1 for a constant, so it sees each example twice.
    examples = [torch.cat([x, x], function.batch_axes[name]) for name, x in function.inputs.items()]
    program = torch.onnx.export(
        function.module,
        tuple(examples),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=list(function.inputs),
        output_names=list(function.outputs),
        dynamic_shapes=tuple({function.batch_axes[name]: batch} for name in function.inputs),
    )
    assert program is not None  # only without dynamo
    model = program.model_proto
    onnx_passes.clean(model)
    return model
