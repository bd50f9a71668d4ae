"""Products of one row with a matrix, as a decode step multiplies its query with the keys.

onnxruntime merges a number that either factor, or the product, is multiplied with into the product,
and then copies the whole matrix into blocks, as it does for many rows: its kernels for one row know
no such number. Multiplied onto the row as a vector, the number stays outside. Attention over a
cache of 292 rows takes half the time (LOG, 2026-11-29).

Letters: K what is summed over, N columns of the matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


def scale_rows(graph: ir.Graph) -> None:
    """Move the numbers of every product x [...,1,K] times y [...,K,N] to x, as vectors [K]."""
    scaled: dict[tuple[str, float], ir.Value] = {}
    for node in list(graph):
        if node.op_type != "MatMul" or not _is_row(node.inputs[0]):
            continue
        factor = 1.0
        for index in (0, 1):
            value, own = _unscaled(node.inputs[index])
            if own is not None and value is not None:
                node.replace_input_with(index, value)
                factor *= own
        factor *= _after(graph, node)
        row = node.inputs[0]
        if factor == 1.0 or row is None:
            continue
        key = row.name or "", factor
        if key not in scaled:
            scaled[key] = _times(graph, node, row, factor)
        node.replace_input_with(0, scaled[key])


def _is_row(value: ir.Value | None) -> bool:
    """Whether it is [...,1,K], K being known."""
    shape = None if value is None else value.shape
    return shape is not None and len(shape) > 1 and shape[-2] == 1 and isinstance(shape[-1], int)


def _unscaled(value: ir.Value | None) -> tuple[ir.Value | None, float | None]:
    """What a factor is a multiple of, and how many times; (the factor, None) for any other.

    Looks through a transpose that only this product reads.
    """
    node = None if value is None else value.producer()
    if value is None or node is None:
        return value, None
    if node.op_type == "Transpose" and len(value.uses()) == 1:
        inner, factor = _unscaled(node.inputs[0])
        if factor is not None and inner is not None:
            node.replace_input_with(0, inner)
        return value, factor
    return _factor(node) or (value, None)


def _after(graph: ir.Graph, product: ir.Node) -> float:
    """The number that a product is multiplied with before anybody reads it; that node goes."""
    import onnx_ir as ir

    made = product.outputs[0]
    readers = list(made.uses())
    if len(readers) != 1 or made.is_graph_output():
        return 1.0
    node = readers[0].node
    found = _factor(node)
    if found is None or found[0] is not made:
        return 1.0
    ir.convenience.replace_all_uses_with(node.outputs[0], made, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return found[1]


def _factor(node: ir.Node) -> tuple[ir.Value, float] | None:
    """(x, number) of x times or divided by a constant number."""
    if node.op_type not in ("Mul", "Div"):
        return None
    for index in (1, 0) if node.op_type == "Mul" else (1,):
        x, constant = node.inputs[1 - index], node.inputs[index]
        data = None if constant is None else constant.const_value
        if x is None or data is None or data.size != 1 or x.const_value is not None:
            continue
        number = float(data.numpy().reshape(()))
        return x, number if node.op_type == "Mul" else 1 / number
    return None


def _times(graph: ir.Graph, node: ir.Node, row: ir.Value, factor: float) -> ir.Value:
    """row [...,1,K] times the vector [K] of one number, before `node`."""
    import onnx_ir as ir

    assert row.shape is not None and row.type is not None
    width, name = row.shape[-1], f"{row.name}.scale"
    vector = ir.tensor(np.full(width, factor, row.type.dtype.numpy()), name=name)  # type: ignore[arg-type]
    constant = ir.Value(name=name, shape=ir.Shape([width]), type=row.type, const_value=vector)
    graph.register_initializer(constant)
    multiply = ir.node("Mul", [row, constant], outputs=[ir.Value(name=f"{row.name}.scaled")])
    graph.insert_before(node, multiply)
    return multiply.outputs[0]
