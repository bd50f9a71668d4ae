"""Tracing a graph function whose parameters may be shapes alone, and cleaning the graph up.

torch.onnx.export's own clean-up fails on fake tensors, so it is left off, and the same passes run
here with parameters that are read only where a pass looks at them. None is folded: what a pass
computed of a parameter would be a copy of it in the graph.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from edgecap.bundle.interface import DECODE, Interface
from edgecap.exporters.examples import example_inputs
from edgecap.exporters.onnx.convert import OPSET
from edgecap.exporters.onnx.parameters import Parameters

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecap.models.adapter import GraphFunction


def trace(function: GraphFunction, interface: Interface, parameters: Parameters) -> ir.Model:
    """The graph of a function for any batch; its parameters are initializers without data."""
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
            torch.export.export(function.module, inputs, dynamic_shapes=tuple(axes)),
            dynamo=True,
            verbose=False,
            optimize=False,
            opset_version=OPSET,
            input_names=list(function.inputs),
            output_names=list(function.outputs),
        )
    assert program is not None  # only without dynamo
    model = program.model
    _clean(model, parameters)
    return model


def _clean(model: ir.Model, parameters: Parameters) -> None:
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


def _lazy(value: ir.Value, name: str, parameters: Parameters) -> ir.LazyTensor:
    import onnx_ir as ir

    def read() -> ir.TensorProtocol:
        return ir.tensor(parameters.whole(name), name=value.name)

    return ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape(parameters.shape(name)), name=value.name)
