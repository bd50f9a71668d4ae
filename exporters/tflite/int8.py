"""Linear layers of a .tflite file as integers.

Letters: N outputs, K inputs of a linear layer (TFLite stores [N,K]); V vocabulary, D width.

Int8 weights carry one scale per tensor, 1, and the scale of each row is multiplied onto the result.
TFLite has scales per row as well, but tflite-runtime 2.14 ignores those of EMBEDDING_LOOKUP, and of
FULLY_CONNECTED with float inputs, and returns zeros without a word; this form is right on every
version, and stores each scale once instead of once per signature.

A bias is taken out of its layer and added in float behind the row scales. As an int32 within the
kernel it would count in units of its row's scale, and a large bias on a row of small weights would
take the steps of the whole output's grid.

A layer with fixed grids becomes QUANTIZE, FULLY_CONNECTED from int8 to int8, DEQUANTIZE, MUL: the
one form of a static layer that every runtime has a fused kernel for (XNNPACK, ruy, NNAPI). Its
output needs a grid of its own, because no kernel adds up int8 products to float. Where a plan keeps
floats, weights are widened by a DEQUANTIZE of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecap.core.errors import UnsupportedError
from edgecap.exporters.tflite.graph import Graph, builtin, schema
from edgecap.exporters.treatment import SchemeLookup, WeightScheme
from edgecap.quant.params import QuantParams
from edgecap.quant.plan import Activations
from edgecap.quant.rounding import rows


def quantise(model: Any, treat: SchemeLookup) -> None:
    """Linear layers and large tables to int8, as `treat` sets for each in each function."""
    codes = schema().BuiltinOperator
    for signature in model.signatureDefs:
        subgraph = model.subgraphs[signature.subgraphIndex]
        function = signature.signatureKey.decode()
        graph = Graph(model, subgraph)
        int8 = _Constants(graph)
        operators: list[Any] = []
        for operator in subgraph.operators:
            code = graph.code(operator)
            constant = code in (codes.FULLY_CONNECTED, codes.EMBEDDING_LOOKUP, codes.CONV_2D)
            value = int8.was(operator.inputs[1]) if constant else None
            if value is None:
                operators.append(operator)
            elif code == codes.FULLY_CONNECTED:
                operators += _connected(graph, operator, treat.linear(value, function), int8)
            elif code == codes.CONV_2D:
                planes = value.transpose(0, 3, 1, 2)  # [O,I,y,x], as PyTorch has it
                how = treat.linear(planes.reshape(len(value), -1), function)
                operators += _convolved(graph, operator, how, int8, function)
            elif treat.table(value).kind == "fp32":
                operators.append(operator)
            else:
                operators += _lookup(graph, operator, int8)
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
        self._own: dict[int, np.ndarray] = {}  # what is stored instead
        self._scales: dict[int, np.ndarray] = {}

    def was(self, index: int) -> np.ndarray | None:
        """The float32 value, also after it was replaced; None for what is no such constant."""
        if index not in self._float:
            value = self._graph.constant(index)
            if value is None:
                return None
            self._float[index] = value
        return self._float[index]

    def divide(self, index: int, columns: np.ndarray) -> None:
        """Undo a gain of the columns [K]; those of zeros stay."""
        value = self._float[index]  # [N,K]
        self._own[index] = np.divide(value, columns, out=value.copy(), where=columns != 0)

    def scales(self, index: int) -> np.ndarray:
        """Make the constant int8, and return the scale [N] of each row, whatever its shape."""
        if index not in self._scales:
            value = self._own.get(index, self._float[index])
            quantised, self._scales[index] = rows(value.reshape(len(value), -1))
            shaped = quantised.reshape(value.shape)
            self._graph.replace(index, schema().TensorType.INT8, shaped, 1.0)
        return self._scales[index]


def _connected(graph: Graph, operator: Any, how: WeightScheme, int8: _Constants) -> list[Any]:
    """A FULLY_CONNECTED of a constant, as its kind asks."""
    if how.kind == "fp32":
        return [operator]
    before = [] if how.columns is None else _unfolded(graph, operator, how.columns, int8)
    after = _unfused(graph, operator)
    if how.kind == "w8_dequant":
        made = _widened(graph, operator, int8)
    elif how.grids is None:
        made = _linear(graph, operator, int8)
    else:
        made = _static(graph, operator, how.grids, int8)
    return [*before, *made, *after]


def _unfolded(
    graph: Graph, operator: Any, columns: tuple[float, ...], int8: _Constants
) -> list[Any]:
    """The gain [K] that the converter folded into a layer, as a MUL before it again."""
    module, x = schema(), operator.inputs[0]
    factor = np.array(columns, np.float32)  # [K]
    int8.divide(operator.inputs[1], factor)
    gained = graph.add_tensor(graph.subgraph.tensors[x].shape, module.TensorType.FLOAT32)
    multiply = graph.operator("MUL", [x, _constant(graph, factor)], [gained], module.MulOptionsT())
    operator.inputs = [gained, *operator.inputs[1:]]
    return [multiply]


def _unfused(graph: Graph, operator: Any) -> list[Any]:
    """The activation that the converter fused into a layer, as an operator of its own again.

    The scales of an int8 layer come after it, and the activation after these.
    """
    module, options = schema(), operator.builtinOptions
    kinds = module.ActivationFunctionType
    if options.fusedActivationFunction == kinds.NONE:
        return []
    names = {kinds.RELU: "RELU", kinds.RELU6: "RELU6", kinds.TANH: "TANH"}
    name = names.get(options.fusedActivationFunction)
    if name is None:
        raise UnsupportedError(
            "export.fused_activation",
            "the converter fused an activation function into a linear layer, which int8 cannot "
            f"carry (code {options.fusedActivationFunction}).",
            "Export with --precision fp32 or fp16.",
        )
    options.fusedActivationFunction = kinds.NONE
    out = operator.outputs[0]
    raw = graph.add_tensor(graph.subgraph.tensors[out].shape, module.TensorType.FLOAT32)
    operator.outputs = [raw]
    return [graph.operator(name, [raw], [out], None)]


def _convolved(
    graph: Graph, operator: Any, how: WeightScheme, int8: _Constants, function: str
) -> list[Any]:
    """A CONV_2D of floats whose int8 weights [O,y,x,I] are widened when the file is loaded."""
    if how.kind == "fp32":
        return [operator]
    if how.kind != "w8_dequant":
        raise UnsupportedError(
            "plan.kind",
            f"{function} has a convolution that the plan makes {how.kind}; "
            "a convolution can be w8_dequant or fp32.",
        )
    module = schema()
    weight, bias = operator.inputs[1], _bias(operator)
    scale = _constant(graph, int8.scales(weight))  # [O]
    wide = graph.add_tensor(graph.subgraph.tensors[weight].shape, module.TensorType.FLOAT32)
    widen = graph.operator("DEQUANTIZE", [weight], [wide], module.DequantizeOptionsT())
    # A convolution needs a bias: runtimes refuse one without.
    none = _constant(graph, np.zeros(len(int8.scales(weight)), np.float32))
    operator.inputs = [operator.inputs[0], wide, none]
    after = _unfused(graph, operator)
    return [widen, operator, *_scaled(graph, operator, scale, bias), *after]


def _linear(graph: Graph, operator: Any, int8: _Constants) -> list[Any]:
    """FULLY_CONNECTED with int8 [N,K]; the runtime rounds the input as it comes.

    From its least to its largest value: tflite-runtime would take a range around 0 otherwise, twice
    as wide as GELU's outputs need.
    """
    operator.builtinOptions.asymmetricQuantizeInputs = True
    bias = _bias(operator)
    scale = _constant(graph, int8.scales(operator.inputs[1]))  # [N]
    operator.inputs = [*operator.inputs[:2], -1]
    return [operator, *_scaled(graph, operator, scale, bias)]


def _widened(graph: Graph, operator: Any, int8: _Constants) -> list[Any]:
    """FULLY_CONNECTED of floats; int8 [N,K] is widened once, when the file is loaded."""
    module = schema()
    weight, bias = operator.inputs[1], _bias(operator)
    scale = _constant(graph, int8.scales(weight))  # [N]
    wide = graph.add_tensor(graph.subgraph.tensors[weight].shape, module.TensorType.FLOAT32)
    widen = graph.operator("DEQUANTIZE", [weight], [wide], module.DequantizeOptionsT())
    operator.inputs = [operator.inputs[0], wide, -1]
    return [widen, operator, *_scaled(graph, operator, scale, bias)]


def _static(graph: Graph, operator: Any, grids: Activations, int8: _Constants) -> list[Any]:
    """FULLY_CONNECTED of int8 with int8 [N,K] to int8, between float tensors."""
    module = schema()
    weight, bias, out = operator.inputs[1], _bias(operator), operator.outputs[0]
    x = _on_grid(graph, operator.inputs[0], grids.input)
    y = _on_grid(graph, out, grids.output)
    quantise_ = graph.operator("QUANTIZE", [operator.inputs[0]], [x], module.QuantizeOptionsT())
    factor = _constant(graph, int8.scales(weight))  # [N]
    operator.inputs, operator.outputs = [x, weight, -1], [y]
    widen = graph.operator("DEQUANTIZE", [y], [out], module.DequantizeOptionsT())
    return [quantise_, operator, widen, *_scaled(graph, widen, factor, bias)]


def _on_grid(graph: Graph, like: int, grid: QuantParams) -> int:
    """A new int8 tensor of the shape of `like`."""
    index = graph.add_tensor(graph.subgraph.tensors[like].shape, schema().TensorType.INT8)
    graph.put_on_grid(index, grid.scale, grid.zero_point)
    return index


def _bias(operator: Any) -> int | None:
    """The index of a layer's bias [N], where it has one."""
    inputs = operator.inputs
    return int(inputs[2]) if len(inputs) > 2 and inputs[2] >= 0 else None


def _lookup(graph: Graph, operator: Any, int8: _Constants) -> list[Any]:
    """EMBEDDING_LOOKUP in a large table: int8 rows [V,D], times the scale of each row [V]."""
    ids, table = operator.inputs
    count = graph.subgraph.tensors[ids].shape[0]
    scale = graph.add_tensor([count, 1], schema().TensorType.FLOAT32)
    column = _constant(graph, int8.scales(table)[:, None])  # [V,1]
    gather = graph.operator("GATHER", [column, ids], [scale], schema().GatherOptionsT())
    return [operator, gather, *_scaled(graph, operator, scale)]


def _scaled(graph: Graph, operator: Any, factor: int, bias: int | None = None) -> list[Any]:
    """MUL, and ADD where there is a bias, that take over the output of `operator`."""
    module = schema()
    out = operator.outputs[0]

    def between() -> int:
        shape = graph.subgraph.tensors[out].shape
        return graph.add_tensor(shape, module.TensorType.FLOAT32)

    raw = between()
    operator.outputs = [raw]
    if bias is None:
        return [graph.operator("MUL", [raw, factor], [out], module.MulOptionsT())]
    scaled = between()
    return [
        graph.operator("MUL", [raw, factor], [scaled], module.MulOptionsT()),
        graph.operator("ADD", [scaled, bias], [out], module.AddOptionsT()),
    ]


def _constant(graph: Graph, value: np.ndarray) -> int:
    """A new float32 constant: scales [N], or a column [V,1]; returns its index."""
    return graph.add_tensor(value.shape, schema().TensorType.FLOAT32, value)
