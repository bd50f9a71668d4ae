"""Products of a .tflite file that transpose a factor: BATCH_MATMUL does it while it reads.

A transpose of its own copies the factor, in a decode step the whole cache. Letters: A, C rows of
the factors, K what is summed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecap.exporters.tflite.graph import Graph, schema


def fold_transposes(model: Any) -> None:
    """x [..,A,K] times a TRANSPOSE of y [..,C,K], with or without a RESHAPE between, as one."""
    codes = schema().BuiltinOperator
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph)
        makers = {index: op for op in subgraph.operators for index in op.outputs}
        operators: list[Any] = []
        for operator in subgraph.operators:
            if graph.code(operator) == codes.BATCH_MATMUL and not operator.builtinOptions.adjY:
                operators += _folded(graph, makers, operator)
            operators.append(operator)
        subgraph.operators = _read(operators, subgraph.outputs)


def _folded(graph: Graph, makers: dict[int, Any], product: Any) -> list[Any]:
    """Let a product read what its second factor is a transpose of; the operators to put first."""
    codes = schema().BuiltinOperator
    factor = product.inputs[1]  # [..,K,C]
    maker = makers.get(factor)
    reshape = maker if maker is not None and graph.code(maker) == codes.RESHAPE else None
    transpose = maker if reshape is None else makers.get(reshape.inputs[0])
    if transpose is None or graph.code(transpose) != codes.TRANSPOSE:
        return []
    shape = graph.shape(factor)
    if not _swaps_last(graph, transpose) or shape[-2:] != graph.shape(transpose.outputs[0])[-2:]:
        return []
    product.builtinOptions.adjY = True
    product.inputs = [product.inputs[0], transpose.inputs[0]]
    if reshape is None:
        return []
    module = schema()
    turned = np.array([*shape[:-2], shape[-1], shape[-2]], np.int32)  # [..,C,K]
    options = module.ReshapeOptionsT()
    options.newShape = turned
    sizes = graph.add_tensor([len(turned)], module.TensorType.INT32, turned)
    source = graph.add_tensor(turned, module.TensorType.FLOAT32)
    product.inputs[1] = source
    return [graph.operator("RESHAPE", [transpose.inputs[0], sizes], [source], options)]


def _swaps_last(graph: Graph, transpose: Any) -> bool:
    """Whether a TRANSPOSE swaps its last two axes and no others."""
    order = graph.integers(transpose.inputs[1])
    axes = list(range(len(order)))
    return len(order) > 1 and order == [*axes[:-2], axes[-1], axes[-2]]


def _read(operators: list[Any], outputs: Any) -> list[Any]:
    """The operators whose results somebody reads."""
    while True:
        read = {int(index) for op in operators for index in op.inputs} | set(map(int, outputs))
        kept = [op for op in operators if any(int(index) in read for index in op.outputs)]
        if len(kept) == len(operators):
            return kept
        operators = kept
