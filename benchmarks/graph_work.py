"""The work that an ONNX graph does for one image: multiply-adds, weights, bytes of state.

Only matrix products and convolutions count; the rest of a captioner is small beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgecap.bundle.io import Bundle
from edgecap.core.lazy import require

FUNCTIONS = ("encode", "decode")  # those of a caption
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm")
_CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")
_INT8 = ("MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv")
_TRANSPARENT = ("Transpose", "DequantizeLinear", "Cast", "Reshape", "Identity")  # to a constant
_FLOAT_BYTES = 4.0  # the cache enters as float32


@dataclass(frozen=True)
class Work:
    """What a function does in one call."""

    macs: int  # multiply-adds
    int8_macs: int  # those of int8 products among them
    weights: int  # elements of constants that products multiply with
    state_bytes: float  # of the cache that it reads


def count(bundle: Bundle) -> dict[str, Work]:
    """The work of the functions of a caption, by name.

    Args:
        bundle: an ONNX bundle in the terms of schema 2.

    Raises:
        MissingPackageError without onnx.
    """
    functions = bundle.manifest.functions
    return {name: _work(bundle, name) for name in FUNCTIONS if name in functions}


def _work(bundle: Bundle, name: str) -> Work:
    function = bundle.manifest.functions[name]
    graph = _Graph(bundle.file(function.file))
    products = [node for node in graph.nodes if node.op_type in (*_PRODUCTS, *_CONVOLUTIONS)]
    state = {value for key, value in function.inputs.items() if key not in ("image", "token")}
    shapes = [graph.shapes[one] for one in graph.inputs if one in state]
    return Work(
        macs=sum(map(graph.macs, products)),
        int8_macs=sum(graph.macs(node) for node in products if graph.is_int8(node)),
        weights=sum(graph.weights(_factor(node)) for node in products if graph.macs(node)),
        state_bytes=_FLOAT_BYTES * sum(math.prod(shape) for shape in shapes if len(shape) > 2),
    )


def _factor(node: Any) -> str:
    """The name of a product's second factor: the weights, where it has any."""
    name: str = node.input[3 if node.op_type.startswith("QLinear") else 1]
    return name


class _Graph:
    """An ONNX graph with the shapes of a single image."""

    def __init__(self, path: Any) -> None:
        onnx = require("onnx", "export")
        model = onnx.load(str(path), load_external_data=False)
        _fix_free_dimensions(model.graph)
        graph = onnx.shape_inference.infer_shapes(model).graph
        self.nodes: list[Any] = list(graph.node)
        self.inputs = [one.name for one in graph.input]
        self._constants = {one.name: math.prod(one.dims) for one in graph.initializer}
        self._made_by = {output: node for node in graph.node for output in node.output}
        self.shapes: Mapping[str, tuple[int, ...]] = dict(_shapes(graph))

    def macs(self, node: Any) -> int:
        """Multiply-adds of a product; 0 where its shapes are not known."""
        out = self.shapes.get(node.output[0], ())
        factor = self.shapes.get(_factor(node), ())
        if not out or not factor:
            return 0
        return math.prod(out) * _summed(node, factor)

    def is_int8(self, node: Any) -> bool:
        """Whether both factors are int8, or dequantised from it: engines multiply the int8 then."""
        return node.op_type in _INT8 or all(map(self._is_dequantised, node.input[:2]))

    def _is_dequantised(self, name: str, depth: int = 4) -> bool:
        node = self._made_by.get(name)
        if node is None or node.op_type not in _TRANSPARENT or not depth:
            return False
        return node.op_type == "DequantizeLinear" or self._is_dequantised(node.input[0], depth - 1)

    def weights(self, name: str, depth: int = 4) -> int:
        """Elements of the constant behind a tensor, through transposes and dequantisation."""
        if name in self._constants:
            return self._constants[name]
        node = self._made_by.get(name)
        if node is None or node.op_type not in _TRANSPARENT or not depth:
            return 0
        return self.weights(node.input[0], depth - 1)


def _summed(node: Any, factor: tuple[int, ...]) -> int:
    """How many products are summed for one output of `node`, from its second factor's shape."""
    if node.op_type in _CONVOLUTIONS:
        return math.prod(factor[1:])
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    if len(factor) == 1 or transposed:
        return factor[-1]
    return factor[-2]


def _fix_free_dimensions(graph: Any) -> None:
    """Give every free dimension of the inputs the size 1, and forget the shapes that follow."""
    for value in graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if not dimension.HasField("dim_value"):
                dimension.dim_value = 1
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]


def _shapes(graph: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    for constant in graph.initializer:
        yield constant.name, tuple(constant.dims)
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        yield value.name, tuple(size or 1 for size in dims)
