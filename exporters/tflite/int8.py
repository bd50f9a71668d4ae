"""Linear layers of a .tflite file as integers.

Letters: N outputs, K inputs of a linear layer (TFLite stores [N,K]); V vocabulary, D width.

Int8 weights carry one scale per tensor, 1, and the scale of each row is multiplied onto the result.
TFLite has scales per row as well, but tflite-runtime 2.14 ignores those of EMBEDDING_LOOKUP, and of
FULLY_CONNECTED with float inputs, and returns zeros without a word; this form is right on every
version, and stores each scale once instead of once per signature.

A layer with fixed grids becomes QUANTIZE, FULLY_CONNECTED from int8 to int8, DEQUANTIZE, MUL: the
one form of a static layer that every runtime has a fused kernel for (XNNPACK, ruy, NNAPI). Its
output needs a grid of its own, because no kernel adds up int8 products to float. Where a plan keeps
floats, weights are widened by a DEQUANTIZE of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecap.exporters.tflite.graph import Graph, builtin, schema
from edgecap.exporters.thresholds import TABLE_ELEMENTS
from edgecap.exporters.treatment import SchemeLookup
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations
from edgecap.quant.rounding import rows


def quantise(model: Any, treat: SchemeLookup) -> None:
    """Linear layers and large tables to int8, as `treat` says of each in each function."""
    codes = schema().BuiltinOperator
    for signature in model.signatureDefs:
        subgraph, function = model.subgraphs[signature.subgraphIndex], signature.signatureKey
        graph = Graph(model, subgraph)
        int8 = _Constants(graph)
        operators = []
        for operator in subgraph.operators:
            if graph.code(operator) == codes.FULLY_CONNECTED:
                how = treat.linear(int8.was(operator.inputs[1]), function.decode())
                if how.kind == "fp32":
                    operators.append(operator)
                elif how.kind == "w8f":
                    operators += _widened(graph, operator, int8)
                elif how.grids is None:
                    operators += _linear(graph, operator, int8)
                else:
                    operators += _static(graph, operator, how.grids, int8)
            elif graph.code(operator) == codes.EMBEDDING_LOOKUP:
                table = int8.was(operator.inputs[1])  # [V,D]
                small = table.size < TABLE_ELEMENTS
                stays = small or treat.table(table).kind == "fp32"
                operators += [operator] if stays else _lookup(graph, operator, int8)
            else:
                operators.append(operator)
        subgraph.operators = operators
    # What a runtime must know: inputs rounded as `_linear` asks, and int8 from end to end.
    versions = {codes.FULLY_CONNECTED: 9, codes.DEQUANTIZE: 2}
    for code in model.operatorCodes:
        code.version = max(code.version, versions.get(builtin(code), 1))


class _Constants:
    """Constants [N,K] of a graph on their way to int8, each once, whoever reads it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._float: dict[int, np.ndarray] = {}
        self._scales: dict[int, np.ndarray] = {}

    def was(self, index: int) -> np.ndarray:
        """The float32 value, [N,K] or of a table [V,D], also after it was replaced."""
        if index not in self._float:
            value = self._graph.constant(index)
            assert value is not None  # every linear layer and table of this model is constant
            self._float[index] = value
        return self._float[index]

    def scales(self, index: int) -> np.ndarray:
        """Make the constant int8, and return the scale of each row [N]."""
        if index not in self._scales:
            quantised, self._scales[index] = rows(self.was(index))
            self._graph.replace(index, schema().TensorType.INT8, quantised, 1.0)
        return self._scales[index]


def _linear(graph: Graph, operator: Any, int8: _Constants) -> list[Any]:
    """FULLY_CONNECTED with int8 [N,K]; the runtime rounds the input as it comes.

    From its least to its largest value: tflite-runtime would take a range around 0 otherwise, twice
    as wide as GELU's outputs need.
    """
    _check_plain(operator)
    operator.builtinOptions.asymmetricQuantizeInputs = True
    scale = _constant(graph, int8.scales(operator.inputs[1]))  # [N]
    return [operator, _scaled(graph, operator, scale)]


def _widened(graph: Graph, operator: Any, int8: _Constants) -> list[Any]:
    """FULLY_CONNECTED of floats; int8 [N,K] is widened once, when the file is loaded."""
    module = schema()
    _check_plain(operator)
    weight = operator.inputs[1]
    scale = _constant(graph, int8.scales(weight))  # [N]
    wide = graph.add_tensor(graph.subgraph.tensors[weight].shape, module.TensorType.FLOAT32)
    widen = graph.operator("DEQUANTIZE", [weight], [wide], module.DequantizeOptionsT())
    operator.inputs = [operator.inputs[0], wide, -1]
    return [widen, operator, _scaled(graph, operator, scale)]


def _static(graph: Graph, operator: Any, grids: Activations, int8: _Constants) -> list[Any]:
    """FULLY_CONNECTED of int8 with int8 [N,K] to int8, between float tensors."""
    module = schema()
    _check_plain(operator)
    weight, out = operator.inputs[1], operator.outputs[0]
    x = _on_grid(graph, operator.inputs[0], grids.input)
    y = _on_grid(graph, out, grids.output)
    z = graph.add_tensor(graph.subgraph.tensors[out].shape, module.TensorType.FLOAT32)
    quantise_ = graph.operator("QUANTIZE", [operator.inputs[0]], [x], module.QuantizeOptionsT())
    operator.inputs, operator.outputs = [x, weight, -1], [y]
    widen = graph.operator("DEQUANTIZE", [y], [z], module.DequantizeOptionsT())
    factor = _constant(graph, int8.scales(weight))  # [N]
    return [
        quantise_,
        operator,
        widen,
        graph.operator("MUL", [z, factor], [out], module.MulOptionsT()),
    ]


def _on_grid(graph: Graph, like: int, grid: QuantParams) -> int:
    """A new int8 tensor of the shape of `like`."""
    index = graph.add_tensor(graph.subgraph.tensors[like].shape, schema().TensorType.INT8)
    graph.put_on_grid(index, grid.scale, grid.zero_point)
    return index


def _check_plain(operator: Any) -> None:
    has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
    assert not has_bias and not operator.builtinOptions.fusedActivationFunction  # none here


def _lookup(graph: Graph, operator: Any, int8: _Constants) -> list[Any]:
    """EMBEDDING_LOOKUP in a large table: int8 rows [V,D], times the scale of each row [V]."""
    ids, table = operator.inputs
    count = graph.subgraph.tensors[ids].shape[0]
    scale = graph.add_tensor([count, 1], schema().TensorType.FLOAT32)
    column = _constant(graph, int8.scales(table)[:, None])  # [V,1]
    gather = graph.operator("GATHER", [column, ids], [scale], schema().GatherOptionsT())
    return [operator, gather, _scaled(graph, operator, scale)]


def _scaled(graph: Graph, operator: Any, factor: int) -> Any:
    """A MUL that takes over the output of `operator`, which gets a new tensor to write to."""
    module = schema()
    out = operator.outputs[0]
    raw = graph.add_tensor(graph.subgraph.tensors[out].shape, module.TensorType.FLOAT32)
    operator.outputs = [raw]
    return graph.operator("MUL", [raw, factor], [out], module.MulOptionsT())


def _constant(graph: Graph, value: np.ndarray) -> int:
    """A new float32 constant: scales [N], or a column [V,1]; returns its index."""
    return graph.add_tensor(value.shape, schema().TensorType.FLOAT32, value)
