"""Reductions of a .tflite file keep their axes where a RESHAPE would put them back.

The converter lets MEAN and SUM drop the axes they reduce, computes with what is left, and puts
sizes of 1 in their places before it broadcasts: three RESHAPEs for each layer norm, a tenth of the
operators of a decode step. The numbers are the same without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgecap.exporters.tflite.graph import Graph

_REDUCTIONS = ("MEAN", "SUM")
_BY_ELEMENT = ("ADD", "SUB", "MUL", "DIV", "RSQRT", "SQRT", "SQUARED_DIFFERENCE")


def keep_axes(model: Any) -> None:
    """Let reductions keep their axes, and drop the RESHAPEs that put them back."""
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph)
        others: set[int] = set()  # reductions whose results somebody needs as they are
        while (found := _follow(graph, others)).needed:
            others |= found.needed
        _apply(graph, found)


@dataclass
class _Followed:
    """What becomes of the results of reductions, element by element."""

    shapes: dict[int, list[int]] = field(default_factory=dict)  # tensor: its shape with all axes
    sources: dict[int, set[int]] = field(default_factory=dict)  # tensor: the reductions' results
    idle: dict[int, int] = field(default_factory=dict)  # result of a RESHAPE: what it reads
    needed: set[int] = field(default_factory=set)


def _follow(graph: Graph, others: set[int]) -> _Followed:
    """Follow all reductions but `others` to RESHAPEs; `needed` are those that end elsewhere."""
    found = _Followed()
    for operator in graph.subgraph.operators:
        name, out = graph.name(operator), int(operator.outputs[0])
        read = [int(index) for index in operator.inputs if int(index) in found.shapes]
        shapes = [found.shapes[index] for index in read]
        if name in _REDUCTIONS and not operator.builtinOptions.keepDims and out not in others:
            if not read:
                found.shapes[out], found.sources[out] = _kept(graph, operator), {out}
                continue
        elif name in _BY_ELEMENT and read and _alike(graph, operator, shapes):
            found.shapes[out] = shapes[0]
            found.sources[out] = set().union(*(found.sources[index] for index in read))
            continue
        elif name == "RESHAPE" and shapes == [graph.shape(out)]:
            found.idle[out] = read[0]
            continue
        found.needed |= set().union(*(found.sources[index] for index in read))
    for index in map(int, graph.subgraph.outputs):
        found.needed |= found.sources.get(index, set())
    return found


def _kept(graph: Graph, reduction: Any) -> list[int]:
    """The shape of a reduction's result if it keeps its axes."""
    shape = graph.shape(reduction.inputs[0])
    for axis in graph.integers(reduction.inputs[1]):
        shape[axis] = 1
    return shape


def _alike(graph: Graph, operator: Any, shapes: list[list[int]]) -> bool:
    """Whether the inputs of an element-wise operator can all have the first of `shapes`."""
    size = int(np.prod(shapes[0]))
    sizes = [int(np.prod(graph.shape(index))) for index in operator.inputs]
    varying = [index for index in operator.inputs if not graph.is_constant(index)]
    return (
        len(varying) == len(shapes)
        and all(shape == shapes[0] for shape in shapes)
        and all(each in (1, size) for each in sizes)
    )


def _apply(graph: Graph, found: _Followed) -> None:
    tensors = graph.subgraph.tensors
    operators = []
    for operator in graph.subgraph.operators:
        out = int(operator.outputs[0])
        if out in found.idle:
            continue
        operator.inputs = [found.idle.get(int(index), int(index)) for index in operator.inputs]
        operators.append(operator)
        if out not in found.shapes:
            continue
        shape = found.shapes[out]
        tensors[out].shape = np.array(shape, np.int32)
        if graph.name(operator) in _REDUCTIONS:
            operator.builtinOptions.keepDims = True
            continue  # its constant says which axes
        for place, index in enumerate(operator.inputs):
            if graph.is_constant(index) and int(np.prod(graph.shape(index))) > 1:
                operator.inputs[place] = graph.reshaped(index, shape)
    graph.subgraph.operators = operators
