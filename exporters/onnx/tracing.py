"""Tracing a graph function whose parameters may be shapes alone, and cleaning the graph up.

torch.onnx.export's own clean-up fails on fake tensors, so it is left off, and the same passes run
here with parameters that are read only where a pass looks at them. None is folded: what a pass
computed of a parameter would be a copy of it in the graph.
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from edgecap.exporters.contract import Function
from edgecap.exporters.onnx.one_row import scale_rows
from edgecap.exporters.onnx.parameters import Parameters

if TYPE_CHECKING:
    import onnx_ir as ir
    from onnx import ModelProto

OPSET = 20  # the first with Gelu


def trace(function: Function, parameters: Parameters) -> ir.Model:
    """The graph of a function for any batch; its parameters are initializers without data."""
    import torch

    batch = torch.export.Dim("B", min=1, max=1024)
    # The tracer takes a size of 1 for a constant, so it sees each example twice.
    inputs = tuple(
        torch.cat([x, x], function.batch_axes[name]) for name, x in function.inputs.items()
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own code uses what torch deprecates
        program = torch.onnx.export(
            torch.export.export(function.module, inputs, dynamic_shapes=_shapes(function, batch)),
            dynamo=True,
            verbose=False,
            optimize=False,
            opset_version=OPSET,
            input_names=list(function.inputs),
            output_names=list(function.outputs),
        )
    assert program is not None  # only without dynamo
    model = program.model
    _simplify(model, parameters)
    return model


def clean(model: ModelProto) -> None:
    """Drop what only the tracer needs: stack traces (they hold paths), inferred shapes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del graph.value_info[:]
    graph.name = "main"


def _shapes(function: Function, batch: Any) -> tuple[Any, ...]:
    """The dynamic axes of every argument; a `*state` counts as one."""
    axes = [{function.batch_axes[name]: batch} for name in function.inputs]
    arguments = inspect.signature(function.module.forward).parameters.values()
    named = sum(p.kind is not inspect.Parameter.VAR_POSITIONAL for p in arguments)
    if named == len(arguments):
        return tuple(axes)
    return (*axes[:named], tuple(axes[named:]))


def _simplify(model: ir.Model, parameters: Parameters) -> None:
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript import optimizer

    for key, value in list(model.graph.initializers.items()):
        name = parameters.find(key)
        if name is not None:
            value.const_value = _lazy(value, name, parameters)
        elif not value.uses():
            del model.graph.initializers[key]

    def folds(node: ir.Node) -> bool | None:
        """False: not; None: by the optimizer's own rules."""
        holds = [v for v in node.inputs if v is not None and v.is_initializer()]
        return False if any(parameters.find(v.name or "") for v in holds) else None

    optimizer.optimize_ir(model, should_fold=folds)
    scale_rows(model.graph)
    RemoveUnusedNodesPass()(model)


def _lazy(value: ir.Value, name: str, parameters: Parameters) -> ir.LazyTensor:
    import onnx_ir as ir

    def read() -> ir.TensorProtocol:
        return ir.tensor(parameters.whole(name), name=value.name)

    return ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape(parameters.shape(name)), name=value.name)
