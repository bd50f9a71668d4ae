"""ONNX: one graph per function, and one file of weights that all share.

The batch axis is dynamic; hosts are told to leave it at 1 where layers round by a scale of the
whole call (`dynamic` in core.formats). `fp16` halves the stored weights; int8 quarters them with
standard operators, which every ONNX runtime has: DynamicQuantizeLinear and MatMulInteger where
inputs are rounded as they come, QuantizeLinear and DequantizeLinear around MatMul where a plan
fixes grids, DequantizeLinear of the weights alone where it keeps floats.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecap.bundle.manifest import Function
from edgecap.core.formats import INT8_PRECISIONS
from edgecap.core.lazy import require
from edgecap.exporters import contract, verify
from edgecap.exporters.onnx import int8 as onnx_int8
from edgecap.exporters.onnx import passes as onnx_passes
from edgecap.exporters.spec import ExportSpec
from edgecap.exporters.treatment import SchemeLookup, by
from edgecap.quant.plan import Plan
from edgecap.reference.quant import ReferenceSubject

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgecap.reference.model.captioner import CaptionModel

OPSET = 20  # the first with Gelu
WEIGHTS = "weights.bin"


def convert(functions: Sequence[contract.Function]) -> dict[str, ModelProto]:
    """Functions as float32 ONNX models, by name; GateError where one does not compute the same."""
    require("onnxscript", "export")
    graphs = {}
    for function in functions:
        graphs[function.name] = graph = _trace(function)
        verify.verify_converted(function, verify.onnx_runner(graph, function), "onnx")
    return graphs


def write(
    graphs: dict[str, ModelProto], precision: str, directory: Path, treat: SchemeLookup | None
) -> dict[str, Function]:
    """Bring `graphs` to `precision` and write them; returns where each function lies.

    `treat` says how each layer is rounded, where the precision is int8. The graphs are changed in
    place.
    """
    for name, graph in graphs.items():
        if precision == "fp16":
            onnx_passes.halve(graph)
        elif precision in INT8_PRECISIONS:
            assert treat is not None  # every int8 export has a plan
            onnx_int8.quantise(graph, name, treat)
    onnx_passes.share_weights(list(graphs.values()), directory / WEIGHTS)
    for name, graph in graphs.items():
        (directory / f"{name}.onnx").write_bytes(graph.SerializeToString())
    return {
        name: contract.placed(
            f"{name}.onnx", name, (i.name for i in g.graph.input), (o.name for o in g.graph.output)
        )
        for name, g in graphs.items()
    }


def export(
    model: CaptionModel, spec: ExportSpec, directory: Path, plan: Plan | None = None
) -> dict[str, Function]:
    """Write `model` as ONNX into `directory`; returns where each function lies."""
    graphs = convert(
        contract.functions(model, spec.attention, by_element=False, extend=spec.extend)
    )
    return write(graphs, spec.precision, directory, by(plan, ReferenceSubject(model)))


def _trace(function: contract.Function) -> ModelProto:
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
        dynamic_shapes=_shapes(function, batch),
    )
    assert program is not None  # only without dynamo
    model = program.model_proto
    onnx_passes.clean(model)
    return model


def _shapes(function: contract.Function, batch: Any) -> tuple[Any, ...]:
    """The dynamic axes of every argument; a `*state` counts as one."""
    axes = [{function.batch_axes[name]: batch} for name in function.inputs]
    parameters = inspect.signature(function.module.forward).parameters.values()
    named = sum(p.kind is not inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if named == len(parameters):
        return tuple(axes)
    return (*axes[:named], tuple(axes[named:]))
